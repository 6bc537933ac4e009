#!lua flags=allow-oom
-- ARGV: id, model id, step -> {'missing'} | {'not_ended', status} | {'in_use', id of a job...} |
-- {'deleted'}: the files may be removed; delete_checkpoint.lua then removes the entry
local id, step = ARGV[1], ARGV[3]
local status = status_of(id)
if not status then return { 'missing' } end
if not IS_FINAL[status] then return { 'not_ended', status } end
local users = jobs_starting_from(ARGV[2], tonumber(step))
if #users > 0 then return { 'in_use', unpack(users) } end
redis.call('SADD', PREFIX .. 'forgotten', id .. '/checkpoint-' .. step)
return { 'deleted' }
