#!lua
-- ARGV: id, epoch, update -> {'recorded'} | {'lost'} | {'moved', progress offset, log offset}
local id, key = ARGV[1], job_key(ARGV[1])
if not holds(id, ARGV[2]) then return { 'lost' } end
local update = cjson.decode(ARGV[3])

if update.move then
  local stored = redis.call('HMGET', key, 'progress_offset', 'log_offset')
  local progress, log = tonumber(stored[1] or 0), tonumber(stored[2] or 0)
  local from, to = update.move.start, update.move['end']
  if progress ~= from.progress or log ~= from.log then
    -- A retry whose first response was lost: the update is already in the store.
    if progress == to.progress and log == to.log then return { 'recorded' } end
    return { 'moved', progress, log }
  end
  redis.call('HSET', key, 'progress_offset', to.progress, 'log_offset', to.log)
end

for _, event in ipairs(update.events) do append_event(id, event) end

if #update.log_lines > 0 then
  local seq = redis.call('HINCRBY', key, 'log_lines', #update.log_lines) - #update.log_lines
  local offset = tonumber(redis.call('HGET', key, 'log_offset') or 0)
  for number, line in ipairs(update.log_lines) do
    -- The line's end in train.log and its number: the file is read from there once the stream has
    -- dropped the next lines.
    local entry = string.format('%.0f-%.0f', line['end'] or offset, seq + number)
    redis.call('XADD', key .. ':logs', 'MAXLEN', '~', MAX_ENTRIES, entry, 'seq', seq + number,
      'at', line.at or now(), 'stream', line.stream, 'line', line.line)
  end
end

for _, checkpoint in ipairs(update.checkpoints) do
  local stream = key .. ':checkpoints'
  -- A resumed run may save a step again; the newer checkpoint replaces the older one.
  for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 100)) do
    if entry[2][2] == tostring(checkpoint.step) then redis.call('XDEL', stream, entry[1]) end
  end
  redis.call('XADD', stream, 'MAXLEN', '~', MAX_ENTRIES, '*', 'step', checkpoint.step,
    'at', checkpoint.at or now(), 'path', checkpoint.path, 'metrics', checkpoint.metrics)
  redis.call('HDEL', key, 'losses')
end

for field, value in pairs(update.fields) do redis.call('HSET', key, field, value) end
return { 'recorded' }
