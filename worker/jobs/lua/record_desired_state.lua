#!lua flags=allow-oom
-- ARGV: id -> 1 if the job exists; sets the time of its last request to now
if not status_of(ARGV[1]) then return 0 end
note_wish(ARGV[1])
return 1
