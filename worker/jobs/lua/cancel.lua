#!lua flags=allow-oom
-- ARGV: id -> status before, or nothing when there is no such job
local id, key = ARGV[1], job_key(ARGV[1])
local status = status_of(id)
if not status or not next(NEXT[status]) then return status end
local is_first = redis.call('HGET', key, 'cancel_requested') ~= '1'
redis.call('HSET', key, 'cancel_requested', 1)
if status == 'running' then
  if is_first then append_event(id, { message = 'Cancellation requested' }) end
else
  cancelled(id)
end
return status
