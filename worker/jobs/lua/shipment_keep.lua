#!lua flags=allow-oom
-- ARGV: job/type, ms of the lease -> 1 when it is still to be shipped
if not redis.call('ZSCORE', SHIPMENTS, ARGV[1]) then return 0 end
redis.call('ZADD', SHIPMENTS, 'XX', now() + ARGV[2], ARGV[1])
return 1
