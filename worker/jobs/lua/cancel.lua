#!lua flags=allow-oom
-- ARGV: id, force | save, given_up or '' -> status before, or nil for an unknown job
local id, key = ARGV[1], job_key(ARGV[1])
local status = status_of(id)
if ARGV[3] == 'given_up' and (status == 'running' or IS_WAITING[status]) then
  redis.call('HSET', key, 'is_given_up', 1)
end
if status == 'running' then
  local before = redis.call('HGET', key, 'cancel_requested')
  if before ~= 'force' and before ~= ARGV[2] then
    redis.call('HSET', key, 'cancel_requested', ARGV[2])
    note_wish(id)
    append_event(id, { message = ARGV[2] == 'save'
      and 'Cancellation requested, with a checkpoint' or 'Cancellation requested' })
  end
elseif IS_WAITING[status] then
  redis.call('HSET', key, 'cancel_requested', ARGV[2])
  note_wish(id)
  cancelled(id)
end
return status
