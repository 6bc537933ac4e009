#!lua
-- ARGV: age in ms, limit, age in ms if a worker that could take the job is idle
-- -> ids of queued jobs that need a wake-up message; marked as notified
local at, ids = now(), {}
local function ring(id)
  redis.call('ZADD', BELLS, 'XX', at, id)
  ids[#ids + 1] = id
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', BELLS, '-inf', at - ARGV[1], 'LIMIT', 0, ARGV[2])) do
  ring(id)
end

local idle, seated = free_workers(at)
local num_idle, num_rung = #fitting(idle, 0), 0
if num_idle == 0 then return ids end
for _, id in ipairs(redis.call('ZRANGE', INDEX.queued, 0, 99)) do
  local job = redis.call('HMGET', job_key(id), 'num_slots', 'retry_at', 'num_nodes')
  local rung_at = tonumber(redis.call('ZSCORE', BELLS, id))
  local num_fitting = #fitting(idle, tonumber(job[1]))
  local num_here = num_fitting + #fitting(seated[id], tonumber(job[1]))
  local fits = num_fitting > 0 and num_here >= tonumber(job[3] or 1)
    and tonumber(job[2] or 0) <= at
  local is_due = at - rung_at >= tonumber(ARGV[3]) or rung_at == tonumber(job[2] or -1)
  if fits and is_due then
    ring(id)
    num_rung = num_rung + 1
    if num_rung == num_idle then break end
  end
end
return ids
