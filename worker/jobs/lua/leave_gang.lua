#!lua flags=allow-oom
-- ARGV: worker -> {'member', id, epoch, rank} if its gang was completed meanwhile, or nil
-- Gives up the worker's seat.
leave_seat(ARGV[1])
for _, id in ipairs(redis.call('ZRANGE', INDEX.running, 0, -1)) do
  local membership = membership_of(ARGV[1], id)
  if membership then return membership end
end
return false
