#!lua flags=allow-oom
-- ARGV: the recovery as known to the caller or '', the new one -> 1 if it was as known
local key = PREFIX .. 'recovery'
if (redis.call('GET', key) or '') ~= ARGV[1] then return 0 end
redis.call('SET', key, ARGV[2])
return 1
