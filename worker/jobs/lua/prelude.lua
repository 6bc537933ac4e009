-- Shared by all scripts. PREFIX, MAX_ENTRIES, MAX_LOSSES, RETRY_MS and NEXT (worker.jobs.job) are
-- defined before it. Times are whole milliseconds of the server's clock. JSON written by callers is
-- passed through.

local INDEX = {
  validating_files = PREFIX .. 'validating',
  queued = PREFIX .. 'queued',
  running = PREFIX .. 'running',
  paused = PREFIX .. 'paused',
}
local BELLS = PREFIX .. 'bells'
local WAITING_SINCE = PREFIX .. 'waiting_since'
local WORKERS = PREFIX .. 'workers'
local COUNTS = PREFIX .. 'counts'
local MARK = PREFIX .. 'mark'
local WEBHOOKS = PREFIX .. 'webhooks'
local SHIPMENTS = PREFIX .. 'shipments'
local MAX_DELIVERIES = 10000
local MAX_RETRY_MS, MAX_FAILURES = 60000, 2
local IS_WAITING = { validating_files = true, queued = true, paused = true }
local IS_FINAL = { succeeded = true, failed = true, cancelled = true }
local ANY_STEP = {}
local CHECKPOINT = '^(.-):ckpt%-step%-(%d+)$'

local function job_key(id) return PREFIX .. 'job:' .. id end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Counts the changes that a caller or a worker may rely on. The controller also keeps the number on
-- disk. If the store's number is lower, the store went back in time.
local function count_change() redis.call('HINCRBY', MARK, 'number', 1) end

local function status_of(id) return redis.call('HGET', job_key(id), 'status') end

local function append_event(id, event)
  local seq = redis.call('HINCRBY', job_key(id), 'events', 1)
  redis.call('XADD', job_key(id) .. ':events', 'MAXLEN', '~', MAX_ENTRIES, '*',
    'seq', seq, 'at', event.at or now(), 'level', event.level or 'info',
    'type', event.type or 'message', 'message', event.message, 'data', event.data or '{}')
end

-- Returns the zsets of the job lists that contain a job: of all jobs, of its owner, of each
-- metadata pair.
local function lists_of(id)
  local job = redis.call('HMGET', job_key(id), 'owner', 'metadata')
  local lists = { PREFIX .. 'jobs', PREFIX .. 'owner:' .. (job[1] or '') .. ':jobs' }
  for name, value in pairs(cjson.decode(job[2])) do
    lists[#lists + 1] = PREFIX .. 'metadata:' .. redis.sha1hex(#name .. ':' .. name .. value)
  end
  return lists
end

local function enter_lists(id, number)
  for _, list in ipairs(lists_of(id)) do redis.call('ZADD', list, number, id) end
end

-- Counts a job among its owner's waiting jobs, running jobs, or neither.
local function count_for_owner(id, status)
  local of = PREFIX .. 'owner:' .. (redis.call('HGET', job_key(id), 'owner') or '')
  redis.call(IS_WAITING[status] and 'SADD' or 'SREM', of .. ':waiting', id)
  redis.call(status == 'running' and 'SADD' or 'SREM', of .. ':running', id)
end

-- Adds the time that an attempt held its worker, then detaches the worker.
local function leave_worker(key)
  local held = redis.call('HMGET', key, 'claimed_at', 'last_heartbeat_at')
  if held[1] then redis.call('HINCRBY', key, 'run_ms', math.max(0, held[2] - held[1])) end
  redis.call('HDEL', key, 'worker', 'claim_token', 'claimed_at', 'workers', 'rendezvous')
  redis.call('DEL', key .. ':members', key .. ':ends')
end

local function enter_index(id, to, score)
  local key = job_key(id)
  local number = tonumber(redis.call('HGET', key, 'number'))
  if to == 'queued' then
    -- Higher priority first, then the older job. A requeued job gets its old place.
    local priority = tonumber(redis.call('HGET', key, 'priority') or 0)
    redis.call('ZADD', INDEX.queued, number - priority * 1e10, id)
    redis.call('ZADD', BELLS, redis.call('HGET', key, 'retry_at') or number, id)
    redis.call('HSET', key, 'queued_at', now())
    redis.call('ZADD', WAITING_SINCE, now(), id)
  else
    redis.call('ZADD', INDEX[to], score or number, id)
  end
end

-- Queues the end of a job for each subscribed endpoint (worker.jobs.store.outbox). The event's id is
-- the same however often this end is recorded. Only a resume, which raises the floor, lets a job
-- end again.
local function announce(id, to, ended_at)
  local endpoints, job = redis.call('HGETALL', WEBHOOKS), nil
  for number = 1, #endpoints, 2 do
    local name, wants = endpoints[number], cjson.decode(endpoints[number + 1])
    job = job or redis.call('HMGET', job_key(id), 'owner', 'result_floor')
    local is_wanted = wants.statuses[to] and (wants.owner == '*' or wants.owner == (job[1] or ''))
    -- A job that was restored from disk may have ended long ago.
    if is_wanted and now() - ended_at < wants.max_age_ms then
      local key = PREFIX .. 'webhook:' .. name
      if redis.call('ZCARD', key .. ':due') >= MAX_DELIVERIES then
        redis.call('HINCRBY', COUNTS, 'webhooks_given_up', 1)
        append_event(id, { level = 'warn', message = 'Webhook "' .. name .. '" not sent: ' ..
          MAX_DELIVERIES .. ' others are pending for its endpoint' })
      else
        local event = 'evt_' .. string.sub(redis.sha1hex(id .. ':' .. (job[2] or '-1')), 1, 32)
        redis.call('ZADD', key .. ':due', now(), event)
        redis.call('HSET', key .. ':ends', event, cjson.encode({
          job_id = id, status = to, created_at = math.floor(ended_at / 1000) }))
      end
    end
  end
end

-- Queues an export for each integration of the job (worker.jobs.store.outbox). A pending export keeps
-- its due time: a scheduler may be working on it, or it waits after a failure. The number of changes
-- shows that scheduler that there is more to export.
local function ship(id)
  local spec = cjson.decode(redis.call('HGET', job_key(id), 'spec'))
  for _, integration in ipairs(spec.integrations or {}) do
    local name = id .. '/' .. integration.type
    redis.call('ZADD', SHIPMENTS, 'NX', now(), name)
    redis.call('HINCRBY', SHIPMENTS .. ':news', name, 1)
  end
end

-- Records the time of a caller's request for the job. job.json has the same time, and a later one
-- than a store that went back in time.
local function note_wish(id)
  local key = job_key(id)
  local before = tonumber(redis.call('HGET', key, 'wished_at') or 0)
  redis.call('HSET', key, 'wished_at', string.format('%.0f', math.max(before + 1, now())))
  count_change()
end

-- Moves a job to another status: updates its status and index, and appends the event. Every step
-- of every job uses this function.
local function move(id, to, step)
  local key, from = job_key(id), status_of(id)
  if not (NEXT[from] and NEXT[from][to]) then
    error('no step from ' .. tostring(from) .. ' to ' .. to .. ' for job ' .. id)
  end
  if INDEX[from] then redis.call('ZREM', INDEX[from], id) end
  if from == 'queued' then
    redis.call('ZREM', BELLS, id)
    redis.call('ZREM', WAITING_SINCE, id)
    redis.call('HDEL', key, 'retry_at')
  end
  redis.call('HSET', key, 'status', to)
  count_change()
  redis.call('HINCRBY', COUNTS, from, -1)
  redis.call('HINCRBY', COUNTS, to, 1)
  redis.call('HDEL', key, 'phase')
  if from == 'running' then leave_worker(key) end
  if INDEX[to] then enter_index(id, to, step.score) end
  local is_end = not INDEX[to]
  if is_end then
    redis.call('HSET', key, 'finished_at', step.at or now())
    redis.call('HDEL', key, 'pause_requested')
  end
  count_for_owner(id, to)
  append_event(id, {
    at = step.at, level = step.level, message = step.message,
    data = step.data or '{"status":"' .. to .. '"}',
  })
  if is_end then announce(id, to, tonumber(step.at or now())) end
  if is_end or to == 'running' then ship(id) end
end

local function fail(id, code, message, param)
  local failure = { code = code, message = message, param = param or cjson.null }
  redis.call('HSET', job_key(id), 'error', cjson.encode(failure))
  move(id, 'failed', { level = 'error', message = 'Job failed: ' .. message })
end

local function cancelled(id, at)
  move(id, 'cancelled', { at = at, message = 'Job cancelled' })
end

local function paused(id)
  redis.call('HDEL', job_key(id), 'pause_requested')
  move(id, 'paused', { message = 'Job paused' })
end

-- Raises the job's epoch and returns it. Never below the clock: a store that went back in time has
-- lost the epochs that it gave out since, and must not give out any of them twice.
local function next_epoch(key)
  local epoch = string.format('%.0f', math.max((redis.call('HGET', key, 'epoch') or 0) + 1, now()))
  redis.call('HSET', key, 'epoch', epoch)
  return epoch
end

-- Returns true if the claim of this epoch still holds the job.
local function holds(id, epoch)
  local state = redis.call('HMGET', job_key(id), 'status', 'epoch')
  return state[1] == 'running' and state[2] == epoch
end

-- Counts a lost attempt and sets the earliest start of the next: at once after the first loss, then
-- with a growing delay. Returns false if this fails the job.
local function count_loss(id, reason, loss)
  local key = job_key(id)
  local count = redis.call('HINCRBY', key, loss.counter, 1)
  if loss.counter == 'failures' and count >= MAX_FAILURES then
    fail(id, loss.code, reason .. '; the previous attempt failed too')
    return false
  end
  if loss.counter == 'losses' and count >= MAX_LOSSES then
    fail(id, loss.code, count .. ' attempts in a row were lost without a new checkpoint; ' ..
      'the last one: ' .. reason)
    return false
  end
  if count > 1 then
    local pause = math.min(RETRY_MS * 2 ^ (count - 2), MAX_RETRY_MS)
    redis.call('HSET', key, 'retry_at', math.floor(now() + pause))
  end
  return true
end

-- Requeues a running job; the higher epoch fences off its old holder.
-- `loss` = { counter = 'losses' | 'failures', code = ... }, or nil if the attempt does not count.
local function give_back(id, reason, loss)
  local key = job_key(id)
  next_epoch(key)
  if redis.call('HEXISTS', key, 'cancel_requested') == 1 then return cancelled(id) end
  if not loss then
    redis.call('HSET', key, 'attempt', math.max(0, redis.call('HGET', key, 'attempt') - 1))
  elseif not count_loss(id, reason, loss) then
    return
  end
  if redis.call('HEXISTS', key, 'pause_requested') == 1 then return paused(id) end
  move(id, 'queued', { level = loss and 'warn' or 'info', message = 'Job queued again: ' .. reason })
end

local LOST = { counter = 'losses', code = 'worker_lost' }

local function worker_key(name) return PREFIX .. 'worker:' .. name end

local function leave_seat(name) redis.call('HDEL', worker_key(name), 'sits_at', 'sits_until') end

-- Returns the names of the workers that lead a job or take part in one, as a set.
local function busy_workers()
  local busy = {}
  for _, id in ipairs(redis.call('ZRANGE', INDEX.running, 0, -1)) do
    busy[redis.call('HGET', job_key(id), 'worker') or ''] = true
    for _, name in ipairs(redis.call('ZRANGE', job_key(id) .. ':members', 0, -1)) do
      busy[name] = true
    end
  end
  return busy
end

-- Returns the numbers of slots by worker, of the idle workers and of those with a seat in a gang:
-- { [name] = slots }, { [job] = { [name] = slots } }.
local function free_workers(at)
  local idle, seated, busy = {}, {}, busy_workers()
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', WORKERS, at, '+inf')) do
    local state = redis.call('HMGET', worker_key(name), 'num_slots', 'sick', 'sits_at', 'sits_until')
    if state[1] and not state[2] and not busy[name] then
      local group, job = idle, state[3]
      if job and tonumber(state[4]) > at then
        seated[job] = seated[job] or {}
        group = seated[job]
      end
      group[name] = tonumber(state[1])
    end
  end
  return idle, seated
end

-- Returns a worker's membership in a running job that it does not lead; nil if it has none.
local function membership_of(name, id)
  local key = job_key(id)
  if not redis.call('ZSCORE', key .. ':members', name) then return nil end
  local job = redis.call('HMGET', key, 'epoch', 'workers')
  for number, other in ipairs(cjson.decode(job[2])) do
    if other == name then return { 'member', id, job[1], number - 1 } end
  end
end

-- Returns the sorted names of the workers of a group with enough slots, except one.
local function fitting(group, num_wanted, except)
  local names = {}
  for name, size in pairs(group or {}) do
    if name ~= except and size >= num_wanted then names[#names + 1] = name end
  end
  table.sort(names)
  return names
end

-- Adds paused jobs to their index in a store that is older than the index. Reads every job if
-- `counts` has more paused jobs than the index.
local function index_paused()
  local num_paused = tonumber(redis.call('HGET', COUNTS, 'paused') or 0)
  if num_paused <= redis.call('ZCARD', INDEX.paused) then return end
  for _, id in ipairs(redis.call('ZRANGE', PREFIX .. 'jobs', 0, -1)) do
    if status_of(id) == 'paused' then enter_index(id, 'paused') end
  end
end

-- Returns { id, spec } pairs of the jobs that have not ended and name this anywhere. Costs one HGET
-- and one search for each job that has not ended; only matching specs are decoded.
local function unfinished_naming(name)
  index_paused()
  -- JSON escapes these characters.
  local is_escaped = string.find(name, '[%c"\\]')
  local specs = {}
  for _, index in pairs(INDEX) do
    for _, id in ipairs(redis.call('ZRANGE', index, 0, -1)) do
      local spec = redis.call('HGET', job_key(id), 'spec')
      if is_escaped or string.find(spec, name, 1, true) then
        specs[#specs + 1] = { id, cjson.decode(spec) }
      end
    end
  end
  return specs
end

-- Returns the ids of at most 20 jobs that have not ended and start from a model: from the model
-- itself, from its checkpoint at `step`, or with ANY_STEP from any of them.
local function jobs_starting_from(model, step)
  local users = {}
  for _, job in ipairs(unfinished_naming(model)) do
    local id, base = job[1], job[2].model
    local used, at = string.match(base, CHECKPOINT)
    if (used or base) == model and (step == ANY_STEP or tonumber(at) == step) then
      users[#users + 1] = id
    end
    if #users == 20 then break end
  end
  return users
end
