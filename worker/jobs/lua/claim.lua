#!lua
-- ARGV: worker, slots, lease in ms, token of this call, most running jobs of an owner or 0,
-- ms for which a job is left to a smaller worker -> id of the job that is the caller's, or nothing
-- The token lets a caller whose connection broke ask again and get the same claim.
local worker, num_slots, at = ARGV[1], tonumber(ARGV[2]), now()
for _, id in ipairs(redis.call('ZRANGE', INDEX.running, 0, -1)) do
  if redis.call('HGET', job_key(id), 'claim_token') == ARGV[4] then return id end
end
local idle = idle_workers(at)

local function is_left_to_others(num_wanted, queued_at)
  if at - queued_at > tonumber(ARGV[6]) then return false end
  for name, size in pairs(idle) do
    if name ~= worker and size >= num_wanted and size < num_slots then return true end
  end
  return false
end

local function is_mine(id)
  local job = redis.call('HMGET', job_key(id), 'num_slots', 'owner', 'retry_at', 'queued_at')
  local num_wanted = tonumber(job[1])
  if num_wanted > num_slots or tonumber(job[3] or 0) > at then return false end
  local num_running = redis.call('SCARD', PREFIX .. 'owner:' .. (job[2] or '') .. ':running')
  if tonumber(ARGV[5]) > 0 and num_running >= tonumber(ARGV[5]) then return false end
  return not is_left_to_others(num_wanted, tonumber(job[4]))
end

local function take(id)
  local key = job_key(id)
  redis.call('HINCRBY', key, 'epoch', 1)
  local attempt = redis.call('HINCRBY', key, 'attempt', 1)
  redis.call('HSETNX', key, 'started_at', at)
  move(id, 'running', { score = at + ARGV[3],
    data = '{"status":"running","attempt":' .. attempt .. '}',
    message = 'Attempt ' .. attempt .. ' started on worker ' .. worker })
  redis.call('HSET', key, 'worker', worker, 'last_heartbeat_at', at, 'claimed_at', at,
    'claim_token', ARGV[4])
  return id
end

local first = 0
while true do
  local ids = redis.call('ZRANGE', INDEX.queued, first, first + 99)
  for _, id in ipairs(ids) do
    if is_mine(id) then return take(id) end
  end
  if #ids < 100 then return false end
  first = first + 100
end
