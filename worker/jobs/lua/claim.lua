#!lua
-- ARGV: id, worker, lease in ms, token of this call -> 1 when the job is the caller's
-- The token lets a caller whose connection broke ask again and get the same claim.
local id, key = ARGV[1], job_key(ARGV[1])
if redis.call('HGET', key, 'claim_token') == ARGV[4] then return 1 end
if status_of(id) ~= 'queued' then return 0 end
local at = now()
redis.call('HINCRBY', key, 'epoch', 1)
local attempt = redis.call('HINCRBY', key, 'attempt', 1)
redis.call('HSETNX', key, 'started_at', at)
move(id, 'running', { score = at + ARGV[3], data = '{"status":"running","attempt":' .. attempt .. '}',
  message = 'Attempt ' .. attempt .. ' started on worker ' .. ARGV[2] })
redis.call('HSET', key, 'worker', ARGV[2], 'last_heartbeat_at', at, 'claim_token', ARGV[4])
return 1
