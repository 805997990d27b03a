-- Note in the cache of results which job will have the result that answers a question.
-- ARGS     digest: of the question; id: of the job; age_ms: how long it is kept; most: how many are kept at most
-- RETURNS  how many are kept
-- WHY      The oldest ones make room, in the same step, so the cache is never larger than it may be.
local name = tag .. 'cached'
redis.call('SET', key('cached', args.digest), args.id, 'PX', ms(args.age_ms))
safe_call('ZADD', name, NOW, args.digest)
safe_call('ZREMRANGEBYSCORE', name, '-inf', ms(now - args.age_ms))
local n = safe_call('ZCARD', name)
-- Not all at once, if the limit has become much smaller.
local excess = math.min(n - args.most, 100)
if excess > 0 then
  local oldest = safe_call('ZRANGE', name, '0', ms(excess - 1))
  for _, digest in ipairs(oldest) do redis.call('DEL', key('cached', digest)) end
  safe_call('ZREM', name, unpack(oldest))
end
return safe_call('ZCARD', name)
