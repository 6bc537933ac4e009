#!lua flags=allow-oom
-- ARGV: endpoint, limit, lease in ms -> {event, end as JSON, number of this try} each
local key, at, taken = PREFIX .. 'webhook:' .. ARGV[1], now(), {}
for _, event in ipairs(redis.call('ZRANGEBYSCORE', key .. ':due', '-inf', at, 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', key .. ':due', 'XX', at + ARGV[3], event)
  local number = redis.call('HINCRBY', key .. ':tries', event, 1)
  taken[#taken + 1] = { event, redis.call('HGET', key .. ':ends', event), number }
end
return taken
