-- Shared by all scripts. Before it stand PREFIX, MAX_ENTRIES, MAX_LOSSES and NEXT (worker.jobs.life).
-- Times are whole milliseconds of the server's clock; JSON written by callers is passed through.

local INDEX = {
  validating_files = PREFIX .. 'validating',
  queued = PREFIX .. 'queued',
  running = PREFIX .. 'running',
}

local function job_key(id) return PREFIX .. 'job:' .. id end

local function now()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function status_of(id) return redis.call('HGET', job_key(id), 'status') end

local function append_event(id, event)
  local seq = redis.call('HINCRBY', job_key(id), 'events', 1)
  redis.call('XADD', job_key(id) .. ':events', 'MAXLEN', '~', MAX_ENTRIES, '*',
    'seq', seq, 'at', event.at or now(), 'level', event.level or 'info',
    'type', event.type or 'message', 'message', event.message, 'data', event.data or '{}')
end

-- Every step of every job goes through here: the status, the index it is found by, the event.
local function move(id, to, step)
  local key, from = job_key(id), status_of(id)
  if not (NEXT[from] and NEXT[from][to]) then
    error('no step from ' .. tostring(from) .. ' to ' .. to .. ' for job ' .. id)
  end
  if INDEX[from] then redis.call('ZREM', INDEX[from], id) end
  redis.call('HSET', key, 'status', to)
  redis.call('HDEL', key, 'phase')
  if from == 'running' then redis.call('HDEL', key, 'worker', 'claim_token') end
  if INDEX[to] then
    -- A doorbell that was never rung sorts before all that were: its score is the job's number.
    redis.call('ZADD', INDEX[to], step.score or redis.call('HGET', key, 'number'), id)
  else
    redis.call('HSET', key, 'finished_at', now())
  end
  append_event(id, {
    level = step.level, message = step.message, data = step.data or '{"status":"' .. to .. '"}',
  })
end

local function fail(id, code, message, param)
  local failure = { code = code, message = message, param = param or cjson.null }
  redis.call('HSET', job_key(id), 'error', cjson.encode(failure))
  move(id, 'failed', { level = 'error', message = 'Job failed: ' .. message })
end

local function cancelled(id)
  move(id, 'cancelled', { message = 'Job cancelled' })
end

-- True when the claim of this epoch still holds the job.
local function holds(id, epoch)
  local state = redis.call('HMGET', job_key(id), 'status', 'epoch')
  return state[1] == 'running' and state[2] == epoch
end

-- A running job goes back into the queue; the higher epoch shuts its old holder out for good.
local function give_back(id, reason, lost)
  local key = job_key(id)
  redis.call('HINCRBY', key, 'epoch', 1)
  if redis.call('HGET', key, 'cancel_requested') == '1' then return cancelled(id) end
  if not lost then
    redis.call('HINCRBY', key, 'attempt', -1)
    return move(id, 'queued', { message = 'Job queued again: ' .. reason })
  end
  local losses = redis.call('HINCRBY', key, 'losses', 1)
  if losses >= MAX_LOSSES then
    return fail(id, 'worker_lost', losses .. ' attempts in a row were lost without a new ' ..
      'checkpoint; the last one: ' .. reason)
  end
  move(id, 'queued', { level = 'warn', message = 'Job queued again: ' .. reason })
end
