#!lua
-- ARGV: id, model id, spec, submission key or '', seconds to remember it, metadata -> id of the job
local id, key = ARGV[1], job_key(ARGV[1])
if redis.call('EXISTS', key) == 1 then return id end
if ARGV[4] ~= '' then
  local first = redis.call('GET', ARGV[4])
  if first then return first end
  redis.call('SET', ARGV[4], id, 'EX', ARGV[5])
end
local number = redis.call('INCR', PREFIX .. 'counter')
redis.call('HSET', key, 'status', 'validating_files', 'spec', ARGV[3], 'metadata', ARGV[6],
  'created_at', now(), 'number', number, 'epoch', 0, 'attempt', 0)
redis.call('HSET', PREFIX .. 'names', ARGV[2], id)
redis.call('ZADD', PREFIX .. 'jobs', number, id)
redis.call('ZADD', INDEX.validating_files, number, id)
append_event(id, { message = 'Job created; its files are being checked',
  data = '{"status":"validating_files"}' })
return id
