-- Read the registrations of a queue's workers.
-- ARGS     an empty map
-- RETURNS  for each worker {name, {field, value, …}}
-- WHY      One call for each queue, so that the calls for all queues go to Redis in one write.
local rows = {}
for i, name in ipairs(safe_call('ZRANGEBYSCORE', tag .. 'workers', ms(now), '+inf')) do
  local facts = redis.pcall('HGETALL', key('worker', name))
  rows[i] = { name, facts.err and {} or facts }
end
return rows
