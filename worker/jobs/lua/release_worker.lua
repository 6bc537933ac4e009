#!lua flags=allow-oom
-- ARGV: worker, reason, id of the only job to release or '' -> ids of the released jobs
leave_seat(ARGV[1])
local released = {}
for _, id in ipairs(redis.call('ZRANGE', INDEX.running, 0, -1)) do
  local is_held = redis.call('HGET', job_key(id), 'worker') == ARGV[1]
    or redis.call('ZSCORE', job_key(id) .. ':members', ARGV[1])
  if is_held and (ARGV[3] == '' or ARGV[3] == id) then
    give_back(id, ARGV[2] .. ' (' .. ARGV[1] .. ')', LOST)
    released[#released + 1] = id
  end
end
return released
