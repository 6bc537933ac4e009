#!lua flags=allow-oom
-- ARGV: id, model id, least time since its end in ms -> 1 when the job is forgotten
local id, key = ARGV[1], job_key(ARGV[1])
local state = redis.call('HMGET', key, 'status', 'finished_at')
if state[1] ~= 'failed' and state[1] ~= 'cancelled' then return 0 end
if now() - state[2] < tonumber(ARGV[3]) then return 0 end
redis.call('SADD', PREFIX .. 'forgotten', id)
for _, list in ipairs(lists_of(id)) do redis.call('ZREM', list, id) end
redis.call('DEL', key, key .. ':events', key .. ':logs', key .. ':checkpoints')
redis.call('HINCRBY', COUNTS, state[1], -1)
redis.call('HDEL', PREFIX .. 'names', ARGV[2])
return 1
