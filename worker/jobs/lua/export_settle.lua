#!lua flags=allow-oom
-- ARGV: job/type, number of changes when it was taken, done | given_up, job, message for the job's
-- events or '' -> 1 if it was pending
-- Changes since it was taken are due at once.
local name = ARGV[1]
if not redis.call('ZSCORE', SHIPMENTS, name) then return 0 end
redis.call('HDEL', SHIPMENTS .. ':tries', name)
redis.call('HDEL', SHIPMENTS .. ':failing', name)
redis.call('HINCRBY', COUNTS, 'shipments_' .. ARGV[3], 1)
if redis.call('HGET', SHIPMENTS .. ':news', name) == ARGV[2] then
  redis.call('ZREM', SHIPMENTS, name)
  redis.call('HDEL', SHIPMENTS .. ':news', name)
else
  redis.call('ZADD', SHIPMENTS, 'XX', now(), name)
end
if ARGV[5] ~= '' and status_of(ARGV[4]) then
  append_event(ARGV[4], { level = 'warn', message = ARGV[5] })
end
return 1
