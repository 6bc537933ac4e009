#!lua flags=allow-oom
-- ARGV: id, epoch, status, model id or '', error or '', time (nil: now)
-- -> 1 if the job has this outcome
local id, key, at = ARGV[1], job_key(ARGV[1]), ARGV[6]
local state = redis.call('HMGET', key, 'status', 'epoch')
if state[2] ~= ARGV[2] then return 0 end
if state[1] ~= 'running' then return state[1] == ARGV[3] and 1 or 0 end
redis.call('HSET', key, 'last_heartbeat_at', now())
if ARGV[3] == 'succeeded' then
  if redis.call('HEXISTS', key, 'is_model_deleted') == 0 then
    redis.call('HSET', key, 'fine_tuned_model', ARGV[4])
    redis.call('HSET', PREFIX .. 'models', ARGV[4], id)
  end
  move(id, 'succeeded', { at = at, message = 'Job succeeded; the model is ' .. ARGV[4] })
elseif ARGV[3] == 'failed' then
  redis.call('HSET', key, 'error', ARGV[5])
  local message = 'Job failed: ' .. cjson.decode(ARGV[5]).message
  move(id, 'failed', { at = at, level = 'error', message = message })
else
  cancelled(id, at)
end
return 1
