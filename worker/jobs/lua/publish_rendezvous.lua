#!lua flags=allow-oom
-- ARGV: id, epoch, address and port of the leader -> 1 if it is published to the members
if not holds(ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', job_key(ARGV[1]), 'rendezvous', ARGV[3])
return 1
