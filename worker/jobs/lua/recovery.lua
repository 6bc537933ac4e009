#!lua flags=allow-oom
-- ARGV: the recovery as the caller knows it or '', what it is to be -> 1 when it was as known
local key = PREFIX .. 'recovery'
if (redis.call('GET', key) or '') ~= ARGV[1] then return 0 end
redis.call('SET', key, ARGV[2])
return 1
