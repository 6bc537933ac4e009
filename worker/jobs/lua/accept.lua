#!lua
-- ARGV: id, events -> 1 if the job was queued
if status_of(ARGV[1]) ~= 'validating_files' then return 0 end
redis.call('HSET', job_key(ARGV[1]), 'is_accepted', 1)
redis.call('HINCRBY', COUNTS, 'accepted', 1)
for _, event in ipairs(cjson.decode(ARGV[2])) do append_event(ARGV[1], event) end
move(ARGV[1], 'queued', { message = 'Files checked; job queued' })
return 1
