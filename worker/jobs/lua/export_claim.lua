#!lua flags=allow-oom
-- ARGV: limit, lease in ms -> {job/type, number of changes, failed tries} each
local at, taken = now(), {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', SHIPMENTS, '-inf', at, 'LIMIT', 0, ARGV[1])) do
  redis.call('ZADD', SHIPMENTS, 'XX', at + ARGV[2], name)
  taken[#taken + 1] = { name, tonumber(redis.call('HGET', SHIPMENTS .. ':news', name) or 0),
    tonumber(redis.call('HGET', SHIPMENTS .. ':tries', name) or 0) }
end
return taken
