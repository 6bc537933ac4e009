#!lua flags=allow-oom
-- ARGV: id, record, holder or '', lease in ms -> 1 if the job was restored, now or by an earlier
-- try of this call whose response was lost
-- The record is JSON, see Leases.restore. With a holder the job is running and the holder's.
-- Without one its files need another check. An existing job is replaced only in the state that the
-- record has `seen`: older than its run directory.
local id, key, record = ARGV[1], job_key(ARGV[1]), cjson.decode(ARGV[2])
local holder, seen = ARGV[3], record.seen
local before = redis.call('HMGET', key, 'status', 'epoch', 'wished_at', 'number')

local function is_as_seen()
  return seen and before[1] == seen.status and before[2] == seen.epoch
    and (before[3] or '0') == seen.wished_at
end

local function withdraw(status)
  if INDEX[status] then redis.call('ZREM', INDEX[status], id) end
  redis.call('ZREM', BELLS, id)
  redis.call('ZREM', WAITING_SINCE, id)
  redis.call('HINCRBY', COUNTS, status, -1)
  if status == 'running' then leave_worker(key) end
  redis.call('HDEL', key, 'phase', 'error', 'finished_at', 'fine_tuned_model', 'retry_at',
    'cancel_requested', 'pause_requested', 'is_given_up')
  if record.is_replayed then
    redis.call('HDEL', key, 'progress_offset', 'log_offset', 'events', 'log_lines')
    redis.call('DEL', key .. ':events', key .. ':logs', key .. ':checkpoints')
  end
end

if before[1] and not is_as_seen() then
  return holder ~= '' and holds(id, record.epoch) and redis.call('HGET', key, 'worker') == holder
    and 1 or 0
end
local jobs, counter = PREFIX .. 'jobs', PREFIX .. 'counter'
-- A job that was created after the loss may have this number and keeps it. The restored job then
-- gets one that no other job on disk has.
local number, highest = record.number, math.max(record.number, record.highest_number)
if highest > tonumber(redis.call('GET', counter) or 0) then redis.call('SET', counter, highest) end
if before[1] then
  number = tonumber(before[4])
  withdraw(before[1])
elseif redis.call('ZCOUNT', jobs, number, number) > 0 then
  number = redis.call('INCR', counter)
end
local at, status = now(), holder ~= '' and 'running' or 'validating_files'
redis.call('HSET', key, 'status', status, 'number', number)
redis.call('HINCRBY', COUNTS, status, 1)
for field, value in pairs(record.fields) do redis.call('HSET', key, field, value) end
redis.call('HSET', PREFIX .. 'names', record.model, id)
if record.fields.submission_key and record.submission_seconds > 0 then
  redis.call('SET', record.fields.submission_key, id, 'NX', 'EX', record.submission_seconds)
end
enter_lists(id, number)
if holder ~= '' then redis.call('HSET', key, 'worker', holder, 'last_heartbeat_at', at) end
enter_index(id, status, holder ~= '' and at + ARGV[4] or number)
count_for_owner(id, status)
count_change()
if not before[1] then
  append_event(id, { at = record.fields.created_at, message = 'Job created' })
end
append_event(id, { level = 'warn', message = before[1]
    and 'Job updated from its run directory: the store had gone back to an older state'
    or 'Job restored from its run directory',
  data = '{"status":"' .. status .. '"}' })
return 1
