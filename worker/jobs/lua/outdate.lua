#!lua flags=allow-oom
-- ARGV: id, epoch, epoch that was given out before -> 1 when the claim was given up by this
-- The store went back in time and the clock with it: the job goes back under an epoch above both.
local id, key = ARGV[1], job_key(ARGV[1])
if not holds(id, ARGV[2]) then return 0 end
redis.call('HSET', key, 'epoch', ARGV[3])
give_back(id, 'the epoch of this attempt had been given out before')
return 1
