#!lua
-- ARGV: id -> {status before or false, 1 if this resumes it}
local id, key = ARGV[1], job_key(ARGV[1])
local status = status_of(id)
if status == 'running' and redis.call('HDEL', key, 'pause_requested') == 1 then
  note_wish(id)
  append_event(id, { message = 'Pause cancelled' })
  return { status, 1 }
end
if status ~= 'paused' and status ~= 'failed' and status ~= 'cancelled' then return { status, 0 } end
if status ~= 'paused' then
  -- Results on disk up to this epoch are from before the resume.
  redis.call('HSET', key, 'result_floor', next_epoch(key))
  redis.call('HDEL', key, 'error', 'finished_at', 'cancel_requested', 'pause_requested',
    'losses', 'failures', 'run_ms')
end
note_wish(id)
local to = redis.call('HEXISTS', key, 'is_accepted') == 1 and 'queued' or 'validating_files'
move(id, to, { message = 'Job resumed' })
return { status, 1 }
