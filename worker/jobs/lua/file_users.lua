#!lua
-- ARGV: file id -> ids of the jobs that have not ended and train on the file, or validate with it
local users = {}
for _, id in ipairs(unfinished_jobs()) do
  local spec = cjson.decode(redis.call('HGET', job_key(id), 'spec'))
  if spec.training_file == ARGV[1] or spec.validation_file == ARGV[1] then users[#users + 1] = id end
end
return users
