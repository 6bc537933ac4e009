#!lua flags=allow-oom
-- ARGV: id, epoch, reason, 1 when the attempt was lost -> status now
if holds(ARGV[1], ARGV[2]) then give_back(ARGV[1], ARGV[3], ARGV[4] == '1') end
return status_of(ARGV[1])
