#!lua flags=allow-oom
-- ARGV: job/type, ms until it is due again -> ms since the first failure in a row, or nil if it is
-- not pending
local name, at = ARGV[1], now()
if not redis.call('ZSCORE', SHIPMENTS, name) then return nil end
redis.call('ZADD', SHIPMENTS, 'XX', at + ARGV[2], name)
redis.call('HINCRBY', SHIPMENTS .. ':tries', name, 1)
redis.call('HSETNX', SHIPMENTS .. ':failing', name, at)
redis.call('HINCRBY', COUNTS, 'shipments_failed', 1)
return at - redis.call('HGET', SHIPMENTS .. ':failing', name)
