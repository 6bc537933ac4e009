#!lua flags=allow-oom
-- ARGV: id -> 1 when there is such a job; its last wish counts as of now
if not status_of(ARGV[1]) then return 0 end
note_wish(ARGV[1])
return 1
