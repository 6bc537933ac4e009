#!lua flags=allow-oom
-- ARGV: worker -> ids of the jobs it held
local released = {}
for _, id in ipairs(redis.call('ZRANGE', INDEX.running, 0, -1)) do
  if redis.call('HGET', job_key(id), 'worker') == ARGV[1] then
    give_back(id, 'worker ' .. ARGV[1] .. ' was restarted', true)
    released[#released + 1] = id
  end
end
return released
