-- Drop finished jobs whose result_ttl has passed, all that belongs to them, and leave a tombstone.
-- ARGS     limit, tombstone_ms
-- RETURNS  how many were dropped
-- WHY      a job and its listings must not be seen apart; an open job is never in `expiring`
local dropped = redis.call('ZRANGEBYSCORE', tag .. 'expiring', '-inf', ms(now), 'LIMIT', 0, args.limit)
for _, id in ipairs(dropped) do
  local fact = redis.call('HMGET', key('job', id), 'state', 'lane', 'tags')
  if fact[1] then redis.call('ZREM', tag .. 'listing:' .. fact[1] .. ':' .. fact[2], id) end
  for name in string.gmatch(fact[3] or '', '%S+') do redis.call('ZREM', key('tagged', name), id) end
  unlist_dead(id)
  redis.call('ZREM', tag .. 'expiring', id)
  redis.call('DEL', key('job', id), key('events', id))
  redis.call('SET', key('gone', id), 1, 'PX', args.tombstone_ms)
end
return #dropped
