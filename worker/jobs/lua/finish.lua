#!lua flags=allow-oom
-- ARGV: id, epoch, status, model id or '', error or '' -> 1 when the job has this end
local id, key = ARGV[1], job_key(ARGV[1])
local state = redis.call('HMGET', key, 'status', 'epoch')
if state[2] ~= ARGV[2] then return 0 end
if state[1] ~= 'running' then return state[1] == ARGV[3] and 1 or 0 end
redis.call('HSET', key, 'last_heartbeat_at', now())
if ARGV[3] == 'succeeded' then
  redis.call('HSET', key, 'fine_tuned_model', ARGV[4])
  redis.call('HSET', PREFIX .. 'models', ARGV[4], id)
  move(id, 'succeeded', { message = 'Job succeeded; the model is ' .. ARGV[4] })
elseif ARGV[3] == 'failed' then
  redis.call('HSET', key, 'error', ARGV[5])
  move(id, 'failed', { level = 'error', message = 'Job failed: ' .. cjson.decode(ARGV[5]).message })
else
  cancelled(id)
end
return 1
