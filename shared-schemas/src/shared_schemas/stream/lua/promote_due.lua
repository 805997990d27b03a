-- Make due jobs ready, and fail jobs whose start deadline has passed.
-- ARGS     limit; due, expired: transitions
-- RETURNS  {promoted, expired, waiting ids (at most limit), ms until the next due job, deadline or expiry, or -1}
-- WHY      Several processes may promote at the same time, so one script reads the state and changes it.
local promoted, expired = 0, 0
local function past(index) return safe_call('ZRANGEBYSCORE', tag .. index, '-inf', ms(now), 'LIMIT', 0, args.limit) end

-- Takes a job out of the index and loads it. A job of a newer version goes back into the index for a minute.
local function taken(index, id)
  redis.call('ZREM', tag .. index, id)
  local job, parts = load(id)
  if not job and parts then add(index, ms(now + 60000), id) end
  return job, parts
end

for _, id in ipairs(past('due')) do
  local job, parts = taken('due', id)
  if job and not parts[@WAITING] and allows(args.due, parts) then
    enqueue(job, parts[@HOME] or parts[@LANE], args.due)
    promoted = promoted + 1
  end
end
for _, id in ipairs(past('deadlines')) do
  local job, parts = taken('deadlines', id)
  if job and parts[@ATTEMPT] == 0 and parts[@DEADLINE] and allows(args.expired, parts) then
    finish(job, args.expired)
    expired = expired + 1
  end
end
commit()
local wait = -1
for _, name in ipairs({ 'due', 'deadlines', 'expiring' }) do
  local first = safe_call('ZRANGE', tag .. name, 0, 0, 'WITHSCORES')
  if first[2] then
    local left = math.max(0, tonumber(first[2]) - now)
    if wait < 0 or left < wait then wait = left end
  end
end
return { promoted, expired, safe_call('ZRANGE', tag .. 'waiting', 0, args.limit - 1), wait }
