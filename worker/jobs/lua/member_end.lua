#!lua flags=allow-oom
-- ARGV: id, epoch, worker, its end as JSON, 1 if it leaves the gang -> 1 if recorded
local key = job_key(ARGV[1])
if not holds(ARGV[1], ARGV[2]) then return 0 end
if not redis.call('ZSCORE', key .. ':members', ARGV[3]) then return 0 end
redis.call('HSET', key .. ':ends', ARGV[3], ARGV[4])
if ARGV[5] == '1' then redis.call('ZREM', key .. ':members', ARGV[3]) end
return 1
