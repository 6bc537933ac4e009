#!lua flags=allow-oom
-- ARGV: job, type, address, message -> 1 if the address is new in the job's events
-- The export works, so earlier failures no longer count.
redis.call('HDEL', SHIPMENTS .. ':tries', ARGV[1] .. '/' .. ARGV[2])
redis.call('HDEL', SHIPMENTS .. ':failing', ARGV[1] .. '/' .. ARGV[2])
if not status_of(ARGV[1]) then return 0 end
local field = 'shown_' .. ARGV[2]
if redis.call('HGET', job_key(ARGV[1]), field) == ARGV[3] then return 0 end
redis.call('HSET', job_key(ARGV[1]), field, ARGV[3])
append_event(ARGV[1], { message = ARGV[4],
  data = cjson.encode({ integration = ARGV[2], url = ARGV[3] }) })
return 1
