#!lua flags=allow-oom
-- ARGV: id, error -> 1 if this failed the job
if status_of(ARGV[1]) ~= 'validating_files' then return 0 end
local failure = cjson.decode(ARGV[2])
redis.call('HSET', job_key(ARGV[1]), 'error', ARGV[2])
redis.call('HINCRBY', COUNTS, 'rejected', 1)
move(ARGV[1], 'failed', { level = 'error', message = 'Job failed: ' .. failure.message })
return 1
