#!lua
-- ARGV: age in ms, limit, age in ms when a worker that could take the job is idle
-- -> ids of queued jobs whose doorbell is to be rung; marked as rung
local at, ids = now(), {}
local function ring(id)
  redis.call('ZADD', BELLS, 'XX', at, id)
  ids[#ids + 1] = id
end

for _, id in ipairs(redis.call('ZRANGEBYSCORE', BELLS, '-inf', at - ARGV[1], 'LIMIT', 0, ARGV[2])) do
  ring(id)
end

local idle, num_idle = {}, 0
for _, size in pairs(idle_workers(at)) do
  num_idle = num_idle + 1
  idle[num_idle] = size
end
if num_idle == 0 then return ids end
table.sort(idle)
local largest, num_rung = idle[num_idle], 0
for _, id in ipairs(redis.call('ZRANGE', INDEX.queued, 0, 99)) do
  local job = redis.call('HMGET', job_key(id), 'num_slots', 'retry_at')
  local rung_at = tonumber(redis.call('ZSCORE', BELLS, id))
  local fits = tonumber(job[1]) <= largest and tonumber(job[2] or 0) <= at
  local is_due = at - rung_at >= tonumber(ARGV[3]) or rung_at == tonumber(job[2] or -1)
  if fits and is_due then
    ring(id)
    num_rung = num_rung + 1
    if num_rung == num_idle then break end
  end
end
return ids
