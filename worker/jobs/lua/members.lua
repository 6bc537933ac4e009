#!lua flags=allow-oom
-- ARGV: id, epoch -> for each member {worker, ms since its last heartbeat or -1 if it has left the
-- gang, its end as JSON or ''}; empty if the claim is lost
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
