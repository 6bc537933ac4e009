#!lua flags=allow-oom
-- ARGV: id, step, message -> number of removed entries
-- Call it once the checkpoint's directory has been renamed.
local id, key = ARGV[1], job_key(ARGV[1])
local stream, num_removed = key .. ':checkpoints', 0
for _, entry in ipairs(redis.call('XRANGE', stream, '-', '+')) do
  if entry[2][2] == ARGV[2] then num_removed = num_removed + redis.call('XDEL', stream, entry[1]) end
end
if num_removed > 0 and status_of(id) then append_event(id, { message = ARGV[3] }) end
return num_removed
