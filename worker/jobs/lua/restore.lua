#!lua flags=allow-oom
-- ARGV: id, record, holder or '', lease in ms -> 1 when the job was not known, or is the holder's
-- by this very call, whose answer was lost
-- The record is JSON, see Leases.restore. With a holder the job is running and the holder's, else
-- its files are to be checked again.
local id, key, record = ARGV[1], job_key(ARGV[1]), cjson.decode(ARGV[2])
local holder = ARGV[3]
if redis.call('EXISTS', key) == 1 then
  return holder ~= '' and holds(id, record.epoch) and redis.call('HGET', key, 'worker') == holder
    and 1 or 0
end
local jobs, counter = PREFIX .. 'jobs', PREFIX .. 'counter'
-- A job that was created after the store was lost may have the number: it keeps it, and ours gets
-- one that no other job on disk has.
local number, highest = record.number, math.max(record.number, record.highest_number)
if highest > tonumber(redis.call('GET', counter) or 0) then redis.call('SET', counter, highest) end
if redis.call('ZCOUNT', jobs, number, number) > 0 then number = redis.call('INCR', counter) end
local at, status = now(), holder ~= '' and 'running' or 'validating_files'
redis.call('HSET', key, 'status', status, 'number', number)
redis.call('HINCRBY', COUNTS, status, 1)
for field, value in pairs(record.fields) do redis.call('HSET', key, field, value) end
redis.call('HSET', PREFIX .. 'names', record.model, id)
enter_lists(id, number)
if holder ~= '' then redis.call('HSET', key, 'worker', holder, 'last_heartbeat_at', at) end
enter_index(id, status, holder ~= '' and at + ARGV[4] or number)
count_for_owner(id, status)
append_event(id, { at = record.fields.created_at, message = 'Job created' })
append_event(id, { level = 'warn', message = 'Job restored from its run directory',
  data = '{"status":"' .. status .. '"}' })
return 1
