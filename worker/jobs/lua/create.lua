#!lua
-- ARGV: id, model id, spec, submission key or '', seconds to remember it, metadata, owner,
-- maximum waiting jobs of an owner or 0, slots, priority, nodes -> {id of the job} |
-- {false, number of waiting jobs}: over the limit | {false, 'model'}: its base model was deleted
local id, key, owner = ARGV[1], job_key(ARGV[1]), ARGV[7]
if redis.call('EXISTS', key) == 1 then return { id } end
if ARGV[4] ~= '' then
  local first = redis.call('GET', ARGV[4])
  -- The earlier job may have been deleted since.
  if first and redis.call('EXISTS', job_key(first)) == 1 then return { first } end
end

-- The model may have been deleted after the API looked it up.
local function is_deleted_base(base)
  if string.sub(base, 1, 3) ~= 'ft:' then return false end
  local model, step = string.match(base, CHECKPOINT)
  if not model then return redis.call('HEXISTS', PREFIX .. 'models', base) == 0 end
  local maker = redis.call('HGET', PREFIX .. 'names', model)
  local checkpoint = (maker or '') .. '/checkpoint-' .. string.format('%.0f', step)
  return not maker or redis.call('SISMEMBER', PREFIX .. 'forgotten', checkpoint) == 1
end

local num_waiting = redis.call('SCARD', PREFIX .. 'owner:' .. owner .. ':waiting')
if tonumber(ARGV[8]) > 0 and num_waiting >= tonumber(ARGV[8]) then return { false, num_waiting } end
if is_deleted_base(cjson.decode(ARGV[3]).model) then return { false, 'model' } end
if ARGV[4] ~= '' then
  redis.call('SET', ARGV[4], id, 'EX', ARGV[5])
  redis.call('HSET', key, 'submission_key', ARGV[4])
end
-- A counter that was lost or went back must not give out the number of an existing job.
local counter, last = PREFIX .. 'counter', redis.call('ZREVRANGE', PREFIX .. 'jobs', 0, 0, 'WITHSCORES')
if last[2] and tonumber(last[2]) > tonumber(redis.call('GET', counter) or 0) then
  redis.call('SET', counter, last[2])
end
local number = redis.call('INCR', counter)
redis.call('HSET', key, 'status', 'validating_files', 'spec', ARGV[3], 'metadata', ARGV[6],
  'created_at', now(), 'number', number, 'epoch', 0, 'attempt', 0, 'owner', owner,
  'num_slots', ARGV[9], 'priority', ARGV[10], 'num_nodes', ARGV[11])
note_wish(id)
redis.call('HINCRBY', COUNTS, 'validating_files', 1)
redis.call('HSET', PREFIX .. 'names', ARGV[2], id)
enter_lists(id, number)
redis.call('ZADD', INDEX.validating_files, number, id)
count_for_owner(id, 'validating_files')
append_event(id, { message = 'Job created; its files are being checked',
  data = '{"status":"validating_files"}' })
return { id }
