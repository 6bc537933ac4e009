#!lua
-- ARGV: age in ms, limit -> ids of queued jobs whose doorbell is to be rung; marked as rung
local at = now()
local ids = redis.call('ZRANGEBYSCORE', INDEX.queued, '-inf', at - ARGV[1], 'LIMIT', 0, ARGV[2])
for _, id in ipairs(ids) do redis.call('ZADD', INDEX.queued, 'XX', at, id) end
return ids
