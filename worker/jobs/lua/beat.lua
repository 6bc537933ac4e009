#!lua flags=allow-oom
-- ARGV: id, epoch, lease in ms -> go_on | pause | cancel | cancel_save | lost
local id, key = ARGV[1], job_key(ARGV[1])
if not holds(id, ARGV[2]) then return 'lost' end
local at = now()
redis.call('HSET', key, 'last_heartbeat_at', at)
redis.call('ZADD', INDEX.running, 'XX', at + ARGV[3], id)
local wishes = redis.call('HMGET', key, 'cancel_requested', 'pause_requested')
if wishes[1] then return wishes[1] == 'save' and 'cancel_save' or 'cancel' end
return wishes[2] and 'pause' or 'go_on'
