-- Drop finished jobs whose result_ttl has passed, all that belongs to them, and leave a tombstone.
-- ARGS     limit, tombstone_ms
-- RETURNS  how many were dropped
-- WHY      a job and its listings must not be seen apart; an open job is never in `expiring`
local n_dropped = 0
for _, id in ipairs(ask('ZRANGEBYSCORE', tag .. 'expiring', '-inf', ms(now), 'LIMIT', 0, args.limit)) do
  local job, r = load(id)
  if not job and r then
    -- Of a newer version: it is looked at again in a while.
    add('expiring', ms(now + 60000), id)
  elseif job and not r[@FINISHED] then
    remove('expiring', id)
  elseif not loaded[id] or job then
    drop(id)
    redis.call('SET', key('gone', id), 1, 'PX', args.tombstone_ms)
    n_dropped = n_dropped + 1
  end
end
return commit(n_dropped)
