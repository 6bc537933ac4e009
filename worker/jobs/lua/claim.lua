#!lua
-- ARGV: worker, slots, lease in ms, token of this call, maximum running jobs of an owner or 0,
-- ms for which a job is reserved for a smaller worker, ms that a seat is kept or 0 to take none
-- -> {'claimed', id}                 the caller holds the job
--  | {'member', id, epoch, rank}     the caller runs this node of the job
--  | {'seated', id, 1 for a new seat}   the caller waits for the gang of a job of several nodes
--  | nil
-- The token makes retries idempotent: after a broken connection the caller gets the same claim.
local worker, num_slots, at = ARGV[1], tonumber(ARGV[2]), now()
for _, id in ipairs(redis.call('ZRANGE', INDEX.running, 0, -1)) do
  if redis.call('HGET', job_key(id), 'claim_token') == ARGV[4] then return { 'claimed', id } end
  local membership = membership_of(worker, id)
  if membership then return membership end
end
local seat = redis.call('HMGET', worker_key(worker), 'sits_at', 'sits_until')
local former = seat[1] and tonumber(seat[2]) > at and seat[1]
leave_seat(worker)
local idle, seated = free_workers(at)

local function is_left_to_others(job, id)
  if at - job.queued_at > tonumber(ARGV[6]) then return false end
  local num_others = 0
  for _, group in ipairs({ idle, seated[id] or {} }) do
    for name, size in pairs(group) do
      if name ~= worker and size >= job.num_slots and size < num_slots then
        num_others = num_others + 1
      end
    end
  end
  return num_others >= job.num_nodes
end

local function read(id)
  local job = redis.call('HMGET', job_key(id), 'num_slots', 'owner', 'retry_at', 'queued_at',
    'num_nodes')
  return { num_slots = tonumber(job[1]), owner = job[2] or '', retry_at = tonumber(job[3] or 0),
    queued_at = tonumber(job[4]), num_nodes = tonumber(job[5] or 1) }
end

local function is_mine(job, id)
  if job.num_slots > num_slots or job.retry_at > at then return false end
  local num_running = redis.call('SCARD', PREFIX .. 'owner:' .. job.owner .. ':running')
  if tonumber(ARGV[5]) > 0 and num_running >= tonumber(ARGV[5]) then return false end
  return not is_left_to_others(job, id)
end

local function take(id, members)
  local key, names = job_key(id), { worker }
  next_epoch(key)
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSETNX', key, 'started_at', at)
  for _, name in ipairs(members) do
    names[#names + 1] = name
    leave_seat(name)
    redis.call('ZADD', key .. ':members', at, name)
  end
  local on = (#names > 1 and ' started on workers ' or ' started on worker ')
  move(id, 'running', { score = at + ARGV[3],
    data = '{"status":"running","attempt":' .. attempt .. ',"workers":' .. cjson.encode(names) .. '}',
    message = 'Attempt ' .. attempt .. on .. table.concat(names, ', ') })
  redis.call('HSET', key, 'worker', worker, 'last_heartbeat_at', at, 'claimed_at', at,
    'claim_token', ARGV[4], 'workers', cjson.encode(names))
  return { 'claimed', id }
end

-- Takes a seat if enough workers could join, and if the worker is registered.
local function sit(job, id)
  local num_others = #fitting(idle, job.num_slots, worker) + #fitting(seated[id], job.num_slots)
  local is_here = redis.call('ZSCORE', WORKERS, worker)
  if ARGV[7] == '0' or not is_here or num_others + 1 < job.num_nodes then return nil end
  redis.call('HSET', worker_key(worker), 'sits_at', id, 'sits_until', at + ARGV[7])
  return { 'seated', id, former == id and 0 or 1 }
end

local function lead_or_sit(job, id)
  local others = fitting(seated[id], job.num_slots)
  if #others + 1 < job.num_nodes then return sit(job, id) end
  return take(id, { unpack(others, 1, job.num_nodes - 1) })
end

local first = 0
while true do
  local ids = redis.call('ZRANGE', INDEX.queued, first, first + 99)
  for _, id in ipairs(ids) do
    local job = read(id)
    local answer = is_mine(job, id) and lead_or_sit(job, id)
    if answer then return answer end
  end
  if #ids < 100 then return false end
  first = first + 100
end
