#!lua flags=allow-oom
-- ARGV: id, minimum time since its end in ms, message -> 1 if the checkpoints may be removed
-- Without `cleaned_at`, a second call after a crash would append a second event.
local id, key = ARGV[1], job_key(ARGV[1])
local state = redis.call('HMGET', key, 'status', 'finished_at', 'cleaned_at')
local is_final = state[1] == 'succeeded' or state[1] == 'failed' or state[1] == 'cancelled'
if not is_final or now() - state[2] < tonumber(ARGV[2]) then return 0 end
redis.call('DEL', key .. ':checkpoints')
if state[3] ~= state[2] then
  redis.call('HSET', key, 'cleaned_at', state[2])
  append_event(id, { message = ARGV[3] })
end
return 1
