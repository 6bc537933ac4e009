#!lua flags=allow-oom
-- ARGV: job/type, lease in ms -> 1 if it is still pending
if not redis.call('ZSCORE', SHIPMENTS, ARGV[1]) then return 0 end
redis.call('ZADD', SHIPMENTS, 'XX', now() + ARGV[2], ARGV[1])
return 1
