-- The registrations of a queue's workers.
-- ARGS     an empty map
-- RETURNS  for each worker {name, {field, value, …}}
-- WHY      one question for each queue, so that those of all queues go to Redis together
local rows = {}
for i, name in ipairs(ask('ZRANGEBYSCORE', tag .. 'workers', ms(now), '+inf')) do
  local facts = redis.pcall('HGETALL', key('worker', name))
  rows[i] = { name, facts.err and {} or facts }
end
return rows
