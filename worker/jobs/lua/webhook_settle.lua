#!lua flags=allow-oom
-- ARGV: endpoint, event, delivered | given_up, job, message for the job's events or ''
-- -> 1 if it was pending
local key = PREFIX .. 'webhook:' .. ARGV[1]
if redis.call('ZREM', key .. ':due', ARGV[2]) == 0 then return 0 end
redis.call('HDEL', key .. ':ends', ARGV[2])
redis.call('HDEL', key .. ':tries', ARGV[2])
redis.call('HINCRBY', COUNTS, 'webhooks_' .. ARGV[3], 1)
if ARGV[5] ~= '' and status_of(ARGV[4]) then
  append_event(ARGV[4], { level = 'warn', message = ARGV[5] })
end
return 1
