#!lua flags=allow-oom
-- ARGV: id, epoch, reason, counter ('losses', 'failures' or ''), failure code -> status now
if holds(ARGV[1], ARGV[2]) then
  give_back(ARGV[1], ARGV[3], ARGV[4] ~= '' and { counter = ARGV[4], code = ARGV[5] } or nil)
end
return status_of(ARGV[1])
