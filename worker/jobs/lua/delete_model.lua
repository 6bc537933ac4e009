#!lua flags=allow-oom
-- ARGV: id, model id, message, 1 to delete it even if in use -> {'missing'} |
-- {'in_use', id of a job...} | {'deleted'}
local id, model = ARGV[1], ARGV[2]
local models = PREFIX .. 'models'
if not status_of(id) then return { 'missing' } end
if redis.call('HGET', models, model) ~= id then
  -- Deleted by an earlier try of this call whose response was lost, or by a caller that was killed.
  local is_forgotten = redis.call('SISMEMBER', PREFIX .. 'forgotten', id .. '/model') == 1
  return { is_forgotten and 'deleted' or 'missing' }
end
local users = ARGV[4] == '1' and {} or jobs_starting_from(model, nil)
if #users > 0 then return { 'in_use', unpack(users) } end
redis.call('SADD', PREFIX .. 'forgotten', id .. '/model')
redis.call('HDEL', models, model)
redis.call('HDEL', job_key(id), 'fine_tuned_model')
redis.call('HSET', job_key(id), 'is_model_deleted', 1)
append_event(id, { message = ARGV[3] })
return { 'deleted' }
