#!lua flags=allow-oom
-- ARGV: worker, number of slots, names of slots, ms until it expires, bytes of its smallest GPU or
-- '', boot id of its host
local key = PREFIX .. 'worker:' .. ARGV[1]
redis.call('HSET', key, 'num_slots', ARGV[2], 'devices', ARGV[3], 'gpu_bytes', ARGV[5],
  'machine', ARGV[6])
redis.call('PEXPIRE', key, ARGV[4])
redis.call('ZREMRANGEBYSCORE', WORKERS, '-inf', now() - 3600000)
redis.call('ZADD', WORKERS, now() + ARGV[4], ARGV[1])
return 1
