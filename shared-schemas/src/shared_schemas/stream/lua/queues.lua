-- Declare queues, and forget queues that are empty and that nobody has declared for long.
-- ARGS     declared: names of queues to declare, again or for the first time
--          empty: names of declared queues without a job; known_ms: how long these stay after their last declaration
--          leaving_ms: how long after that they are still listed, without taking jobs, before they are forgotten
-- RETURNS  {now, name, score, name, score, …}; score: when the queue was declared, ms, or minus when it began to leave
-- WHY      A job may be on its way to a queue that the submitter has just seen. The queue must be listed until it
--          arrives.
local name = tag .. 'declared'
-- Delete a key of another type. Everyone declares their queues again soon.
if type(redis.pcall('ZSCORE', name, '')) == 'table' then redis.call('DEL', name) end
for _, queue in ipairs(args.declared) do redis.call('ZADD', name, ms(now), queue) end
for _, queue in ipairs(args.empty) do
  local score = tonumber(redis.call('ZSCORE', name, queue) or 0)
  if score > 0 and now - score >= args.known_ms then
    redis.call('ZADD', name, ms(-now), queue)
  elseif score < 0 and now + score >= args.leaving_ms then
    redis.call('ZREM', name, queue)
  end
end
local answer = redis.call('ZRANGE', name, 0, -1, 'WITHSCORES')
table.insert(answer, 1, ms(now))
return answer
