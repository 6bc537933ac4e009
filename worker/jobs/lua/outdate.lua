#!lua flags=allow-oom
-- ARGV: id, epoch, epoch that was given out before -> 1 if this revoked the claim
-- Store and clock went back in time: requeues the job under an epoch above both.
local id, key = ARGV[1], job_key(ARGV[1])
if not holds(id, ARGV[2]) then return 0 end
redis.call('HSET', key, 'epoch', ARGV[3])
give_back(id, 'the epoch of this attempt was used before')
return 1
