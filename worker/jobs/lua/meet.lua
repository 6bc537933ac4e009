#!lua flags=allow-oom
-- ARGV: id, epoch, address and port -> 1 when the members are told where to meet their leader
if not holds(ARGV[1], ARGV[2]) then return 0 end
redis.call('HSET', job_key(ARGV[1]), 'rendezvous', ARGV[3])
return 1
