-- Keep the list of declared queues: put some on it, take off what nobody has declared for long and is empty.
-- ARGS     declared: names to put on it, or to put on it anew
--          empty: names of queues on it that hold no job; known_ms: how long such a one stays after it was declared
--          leaving_ms: how long after that it is listed, and takes no job, until it is taken off
-- RETURNS  {now, name, score, name, score, …}; score: when it was declared, ms, or minus when it began to leave
-- WHY      a job may be on its way to a queue that was known a moment ago: it must be listed until that is over
local name = tag .. 'declared'
-- What somebody else put there stands in the way, and each declares its own again.
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
