-- Make due jobs ready and end those whose start deadline has passed.
-- ARGS     limit; due, expired: transitions
-- RETURNS  {promoted, expired, waiting ids (at most limit), ms until the next due job, deadline or expiry or -1}
-- WHY      the state is read and changed in one step, whoever else promotes at the same time
local promoted, expired = 0, 0
local function past(index) return ask('ZRANGEBYSCORE', tag .. index, '-inf', ms(now), 'LIMIT', 0, args.limit) end

-- A job of a newer version is left for those that know it: it is looked at again in a while.
local function taken(index, id)
  redis.call('ZREM', tag .. index, id)
  local job, r = load(id)
  if not job and r then add(index, ms(now + 60000), id) end
  return job, r
end

for _, id in ipairs(past('due')) do
  local job, r = taken('due', id)
  if job and not r[@WAITING] and allows(args.due, r) then
    enqueue(job, r[@HOME] or r[@LANE], args.due)
    promoted = promoted + 1
  end
end
for _, id in ipairs(past('deadlines')) do
  local job, r = taken('deadlines', id)
  if job and r[@ATTEMPT] == 0 and r[@DEADLINE] and allows(args.expired, r) then
    finish(job, args.expired)
    expired = expired + 1
  end
end
commit()
local wait = -1
for _, name in ipairs({ 'due', 'deadlines', 'expiring' }) do
  local first = ask('ZRANGE', tag .. name, 0, 0, 'WITHSCORES')
  if first[2] then
    local left = math.max(0, tonumber(first[2]) - now)
    if wait < 0 or left < wait then wait = left end
  end
end
return { promoted, expired, ask('ZRANGE', tag .. 'waiting', 0, args.limit - 1), wait }
