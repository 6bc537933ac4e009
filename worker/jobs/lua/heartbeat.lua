#!lua flags=allow-oom
-- ARGV: id, epoch, lease in ms
-- -> go_on | pause | cancel | cancel_save | member_over | member_stops | lost
local id, key = ARGV[1], job_key(ARGV[1])
if not holds(id, ARGV[2]) then return 'lost' end
local at = now()
redis.call('HSET', key, 'last_heartbeat_at', at)
redis.call('ZADD', INDEX.running, 'XX', at + ARGV[3], id)

local function of_members()
  local answer = redis.call('ZCOUNT', key .. ':members', '-inf', '(' .. at - ARGV[3]) > 0
    and 'member_over' or nil
  for _, text in ipairs(redis.call('HVALS', key .. ':ends')) do
    local kind = cjson.decode(text).kind
    if kind == 'failed' or kind == 'left' then answer = 'member_over' end
    if kind == 'stops' then answer = answer or 'member_stops' end
  end
  return answer
end

local requests = redis.call('HMGET', key, 'cancel_requested', 'pause_requested')
local members = of_members()
if requests[1] == 'force' then return 'cancel' end
if members == 'member_over' then return members end
if requests[1] then return 'cancel_save' end
return requests[2] and 'pause' or members or 'go_on'
