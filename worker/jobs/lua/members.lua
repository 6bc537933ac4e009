#!lua flags=allow-oom
-- ARGV: id, epoch -> of each member {worker, ms since its last sign of life or -1 when it takes part
-- no longer, its end as JSON or ''}; none when the job is another's
local key, at, members = job_key(ARGV[1]), now(), {}
if not holds(ARGV[1], ARGV[2]) then return members end
for number, name in ipairs(cjson.decode(redis.call('HGET', key, 'workers') or '[]')) do
  local seen = redis.call('ZSCORE', key .. ':members', name)
  if number > 1 then
    members[#members + 1] =
      { name, seen and at - seen or -1, redis.call('HGET', key .. ':ends', name) or '' }
  end
end
return members
