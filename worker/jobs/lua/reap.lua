#!lua flags=allow-oom
-- ARGV: limit -> ids of the jobs whose lease has expired
local ids = redis.call('ZRANGEBYSCORE', INDEX.running, '-inf', now(), 'LIMIT', 0, ARGV[1])
for _, id in ipairs(ids) do
  local worker = redis.call('HGET', job_key(id), 'worker')
  give_back(id, 'no heartbeat from worker ' .. tostring(worker), LOST)
end
return ids
