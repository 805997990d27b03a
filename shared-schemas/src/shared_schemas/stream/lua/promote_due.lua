-- Make due jobs ready and end those whose start deadline has passed.
-- ARGS     limit; due, expired: transitions
-- RETURNS  {promoted, expired, waiting ids (at most limit), ms until the next due job, deadline or expiry or -1}
-- WHY      the state is read and changed in one step, whoever else promotes at the same time
local promoted, expired = 0, 0
for _, id in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'due', '-inf', ms(now), 'LIMIT', 0, args.limit)) do
  redis.call('ZREM', tag .. 'due', id)
  local job, r = load(id)
  if job and not r[@WAITING] and allows(args.due, r) then
    enqueue(job, r[@HOME], args.due)
    promoted = promoted + 1
  end
end
for _, id in ipairs(redis.call('ZRANGEBYSCORE', tag .. 'deadlines', '-inf', ms(now), 'LIMIT', 0, args.limit)) do
  redis.call('ZREM', tag .. 'deadlines', id)
  local job, r = load(id)
  if job and r[@ATTEMPT] == 0 and allows(args.expired, r) then
    finish(job, args.expired)
    expired = expired + 1
  end
end
commit()
local wait = -1
for _, name in ipairs({ 'due', 'deadlines', 'expiring' }) do
  local first = redis.call('ZRANGE', tag .. name, 0, 0, 'WITHSCORES')
  if first[2] then
    local left = math.max(0, tonumber(first[2]) - now)
    if wait < 0 or left < wait then wait = left end
  end
end
return { promoted, expired, redis.call('ZRANGE', tag .. 'waiting', 0, args.limit - 1), wait }
