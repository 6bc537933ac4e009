#!lua flags=allow-oom
-- ARGV: id, epoch, lease in ms -> go_on | cancel | lost
local id, key = ARGV[1], job_key(ARGV[1])
if not holds(id, ARGV[2]) then return 'lost' end
local at = now()
redis.call('HSET', key, 'last_heartbeat_at', at)
redis.call('ZADD', INDEX.running, 'XX', at + ARGV[3], id)
if redis.call('HGET', key, 'cancel_requested') == '1' then return 'cancel' end
return 'go_on'
