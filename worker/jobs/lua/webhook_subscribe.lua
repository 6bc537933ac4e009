#!lua flags=allow-oom
-- ARGV: name, subscription as JSON, name, ... -> for each removed endpoint {name, number of pending
-- ends}, which are dropped
local is_known, gone = {}, {}
for number = 1, #ARGV, 2 do
  is_known[ARGV[number]] = true
  redis.call('HSET', WEBHOOKS, ARGV[number], ARGV[number + 1])
end
for _, name in ipairs(redis.call('HKEYS', WEBHOOKS)) do
  if not is_known[name] then
    local key = PREFIX .. 'webhook:' .. name
    gone[#gone + 1] = { name, redis.call('ZCARD', key .. ':due') }
    redis.call('HDEL', WEBHOOKS, name)
    redis.call('DEL', key .. ':due', key .. ':ends', key .. ':tries')
  end
end
return gone
