#!lua flags=allow-oom
-- ARGV: id, epoch, worker -> 'over' | address and port of the leader, '' until published
local key = job_key(ARGV[1])
if not holds(ARGV[1], ARGV[2]) then return 'over' end
if not redis.call('ZSCORE', key .. ':members', ARGV[3]) then return 'over' end
redis.call('ZADD', key .. ':members', 'XX', now(), ARGV[3])
return redis.call('HGET', key, 'rendezvous') or ''
