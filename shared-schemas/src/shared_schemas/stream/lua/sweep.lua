-- Drop finished jobs whose result_ttl has passed, all that belongs to them, and leave a tombstone.
-- ARGS     limit, tombstone_ms
-- RETURNS  how many were dropped
-- WHY      a job and its listings must not be seen apart; an open job is never in `expiring`
local dropped = redis.call('ZRANGEBYSCORE', tag .. 'expiring', '-inf', ms(now), 'LIMIT', 0, args.limit)
for _, id in ipairs(dropped) do
  drop(id)
  redis.call('SET', key('gone', id), 1, 'PX', args.tombstone_ms)
end
return commit(#dropped)
