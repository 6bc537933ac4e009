#!lua flags=allow-oom
-- ARGV: endpoint, event, ms until it is due again -> 1 if it is still pending
local due = PREFIX .. 'webhook:' .. ARGV[1] .. ':due'
if not redis.call('ZSCORE', due, ARGV[2]) then return 0 end
redis.call('ZADD', due, 'XX', now() + ARGV[3], ARGV[2])
redis.call('HINCRBY', COUNTS, 'webhooks_failed', 1)
return 1
