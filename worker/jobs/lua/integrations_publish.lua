#!lua flags=allow-oom
-- ARGV: type, owners as JSON, type, ...: replaces the integrations that jobs may use
redis.call('DEL', PREFIX .. 'integrations')
for number = 1, #ARGV, 2 do
  redis.call('HSET', PREFIX .. 'integrations', ARGV[number], ARGV[number + 1])
end
return 1
