#!lua flags=allow-oom
-- ARGV: id -> {status before or false, 1 if this pauses it, now or later}
local id, key = ARGV[1], job_key(ARGV[1])
local status = status_of(id)
if status == 'running' and redis.call('HEXISTS', key, 'cancel_requested') == 0 then
  if redis.call('HSETNX', key, 'pause_requested', 1) == 1 then
    note_wish(id)
    append_event(id, { message = 'Pause requested' })
  end
  return { status, 1 }
end
if status == 'validating_files' or status == 'queued' then
  note_wish(id)
  paused(id)
  return { status, 1 }
end
return { status, 0 }
