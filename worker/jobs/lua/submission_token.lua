#!lua
-- ARGV: key, new token, time of arrival in ms, 1 for a retry, seconds to remember
-- -> the token of the submission that the request belongs to
local known = redis.call('HMGET', ARGV[1], 'token', 'arrived_at', 'by_retry')
if ARGV[4] == '1' then
  if known[1] then return known[1] end
elseif known[3] == '1' and tonumber(known[2]) > tonumber(ARGV[3]) then
  -- A retry overtook its own first try, which was still in progress: they are one submission.
  redis.call('HSET', ARGV[1], 'by_retry', 0)
  return known[1]
end
redis.call('HSET', ARGV[1], 'token', ARGV[2], 'arrived_at', ARGV[3], 'by_retry', ARGV[4])
redis.call('EXPIRE', ARGV[1], ARGV[5])
return ARGV[2]
