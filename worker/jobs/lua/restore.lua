#!lua flags=allow-oom
-- ARGV: id, model id, spec, metadata, owner, slots, priority, number, created at, epoch, attempt,
-- result floor, started at or '', holder, lease in ms -> 1 when the job was not known
-- With a holder the job is running and the holder's, else its files are to be checked again.
local id, key = ARGV[1], job_key(ARGV[1])
if redis.call('EXISTS', key) == 1 then return 0 end
local jobs, counter = PREFIX .. 'jobs', PREFIX .. 'counter'
local number = tonumber(ARGV[8])
if redis.call('ZCOUNT', jobs, number, number) > 0 then number = redis.call('INCR', counter) end
if number > tonumber(redis.call('GET', counter) or 0) then redis.call('SET', counter, number) end
local is_held, at = ARGV[14] ~= '', now()
local status = is_held and 'running' or 'validating_files'
redis.call('HSET', key, 'status', status, 'spec', ARGV[3], 'metadata', ARGV[4], 'owner', ARGV[5],
  'num_slots', ARGV[6], 'priority', ARGV[7], 'number', number, 'created_at', ARGV[9],
  'epoch', ARGV[10], 'attempt', ARGV[11], 'result_floor', ARGV[12])
if ARGV[13] ~= '' then redis.call('HSET', key, 'started_at', ARGV[13]) end
if is_held then
  redis.call('HSET', key, 'worker', ARGV[14], 'last_heartbeat_at', at, 'is_accepted', 1)
end
redis.call('HSET', PREFIX .. 'names', ARGV[2], id)
redis.call('ZADD', jobs, number, id)
enter_index(id, status, is_held and at + ARGV[15] or number)
count_for_owner(id, status)
append_event(id, { level = 'warn', message = 'Job restored from its run directory',
  data = '{"status":"' .. status .. '"}' })
return 1
