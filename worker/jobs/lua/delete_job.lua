#!lua flags=allow-oom
-- ARGV: id, model id, minimum time since its end in ms, 1 to delete it in any state
-- -> {'missing'} | {'not_ended', status} | {'too_young'} | {'in_use', id of a job...} | {'deleted'}
-- In any state: a rolled-back store has restored a deleted job.
local id, key, model = ARGV[1], job_key(ARGV[1]), ARGV[2]
local state = redis.call('HMGET', key, 'status', 'finished_at', 'submission_key', 'owner', 'spec')
local status = state[1]
-- Deleted by an earlier try of this call whose response was lost, or by a caller that was killed.
local is_forgotten = redis.call('SISMEMBER', PREFIX .. 'forgotten', id) == 1
if not status then return { is_forgotten and 'deleted' or 'missing' } end
if ARGV[4] ~= '1' then
  if not IS_FINAL[status] then return { 'not_ended', status } end
  if now() - state[2] < tonumber(ARGV[3]) then return { 'too_young' } end
  local users = jobs_starting_from(model, ANY_STEP)
  if #users > 0 then return { 'in_use', unpack(users) } end
end
redis.call('SADD', PREFIX .. 'forgotten', id)
count_change()
for _, list in ipairs(lists_of(id)) do redis.call('ZREM', list, id) end
for _, index in pairs(INDEX) do redis.call('ZREM', index, id) end
redis.call('ZREM', BELLS, id)
redis.call('ZREM', WAITING_SINCE, id)
local of = PREFIX .. 'owner:' .. (state[4] or '')
redis.call('SREM', of .. ':waiting', id)
redis.call('SREM', of .. ':running', id)
for _, integration in ipairs(cjson.decode(state[5]).integrations or {}) do
  local name = id .. '/' .. integration.type
  redis.call('ZREM', SHIPMENTS, name)
  redis.call('HDEL', SHIPMENTS .. ':news', name)
  redis.call('HDEL', SHIPMENTS .. ':tries', name)
  redis.call('HDEL', SHIPMENTS .. ':failing', name)
end
if state[3] and redis.call('GET', state[3]) == id then redis.call('DEL', state[3]) end
redis.call('DEL', key, key .. ':events', key .. ':logs', key .. ':checkpoints', key .. ':members',
  key .. ':ends')
redis.call('HINCRBY', COUNTS, status, -1)
redis.call('HDEL', PREFIX .. 'names', model)
redis.call('HDEL', PREFIX .. 'models', model)
return { 'deleted' }
