#!lua
-- ARGV: id -> 1 when the job went into the queue
if status_of(ARGV[1]) ~= 'validating_files' then return 0 end
move(ARGV[1], 'queued', { message = 'Files checked; job queued' })
return 1
