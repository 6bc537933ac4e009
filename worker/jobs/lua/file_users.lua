#!lua
-- ARGV: file id -> ids of the jobs that have not ended and train or validate with the file
local users = {}
for _, job in ipairs(unfinished_naming(ARGV[1])) do
  local id, spec = job[1], job[2]
  if spec.training_file == ARGV[1] or spec.validation_file == ARGV[1] then users[#users + 1] = id end
end
return users
