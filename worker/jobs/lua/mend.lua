#!lua flags=allow-oom
-- ARGV: lease in ms, ids -> {id, finding} for each inconsistency
-- 'missing': no such job. 'model': it succeeded and its model is not in the index. Any other is a
-- missing or stale index entry, which this script repairs.
local lease, found = ARGV[1], {}

local function mend_lists(id, number)
  for _, list in ipairs(lists_of(id)) do
    if redis.call('ZSCORE', list, id) ~= number then
      redis.call('ZADD', list, number, id)
      found[#found + 1] = { id, 'its entry in ' .. list }
    end
  end
end

local function mend_index(id, status)
  for name, index in pairs(INDEX) do
    local is_there = redis.call('ZSCORE', index, id)
    if name == status and not is_there then
      enter_index(id, name, name == 'running' and now() + lease or nil)
      found[#found + 1] = { id, 'its entry in ' .. index }
    elseif name ~= status and is_there then
      redis.call('ZREM', index, id)
      found[#found + 1] = { id, 'a stale entry in ' .. index }
    end
  end
  if status == 'queued' and not redis.call('ZSCORE', BELLS, id) then
    redis.call('ZADD', BELLS, redis.call('HGET', job_key(id), 'number'), id)
    found[#found + 1] = { id, 'its entry in ' .. BELLS }
  end
end

local function mend_owner(id, status, owner)
  local of = PREFIX .. 'owner:' .. owner
  for list, belongs in pairs({ waiting = IS_WAITING[status] or false, running = status == 'running' }) do
    if (redis.call('SISMEMBER', of .. ':' .. list, id) == 1) ~= belongs then
      count_for_owner(id, status)
      found[#found + 1] = { id, 'its entry in ' .. of .. ':' .. list }
    end
  end
end

local function mend_name(id, spec)
  local base = spec.model:match('^ft:([^:]*)') or spec.model
  local suffix = type(spec.suffix) == 'string' and spec.suffix or ''
  local name = 'ft:' .. base .. ':flant5:' .. suffix .. ':' .. id:sub(-8)
  if redis.call('HSETNX', PREFIX .. 'names', name, id) == 1 then
    found[#found + 1] = { id, 'its entry in ' .. PREFIX .. 'names' }
  end
end

local function mend_counts()
  if redis.call('EXISTS', COUNTS) == 1 then return end
  for _, id in ipairs(redis.call('ZRANGE', PREFIX .. 'jobs', 0, -1)) do
    local status = status_of(id)
    if status then redis.call('HINCRBY', COUNTS, status, 1) end
  end
end

for number = 2, #ARGV do
  local id, key = ARGV[number], job_key(ARGV[number])
  local job = redis.call('HMGET', key, 'status', 'number', 'owner', 'spec', 'fine_tuned_model')
  if not job[1] then
    found[#found + 1] = { id, 'missing' }
  else
    mend_lists(id, job[2])
    mend_index(id, job[1])
    mend_owner(id, job[1], job[3] or '')
    mend_name(id, cjson.decode(job[4]))
    if job[1] == 'succeeded' and job[5]
      and redis.call('HEXISTS', PREFIX .. 'models', job[5]) == 0 then
      found[#found + 1] = { id, 'model' }
    end
  end
end
mend_counts()
return found
