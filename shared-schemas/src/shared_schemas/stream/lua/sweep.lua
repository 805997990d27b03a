-- Delete finished jobs whose result_ttl has passed, with all that belongs to them, and leave a tombstone for each.
-- ARGS     limit, tombstone_ms
-- RETURNS  how many were deleted
-- WHY      A job and its listings disappear together. A job that has not ended is never in `expiring`.
local n_dropped = 0
for _, id in ipairs(safe_call('ZRANGEBYSCORE', tag .. 'expiring', '-inf', ms(now), 'LIMIT', 0, args.limit)) do
  local job, parts = load(id)
  if not job and parts then
    -- A job of a newer version: try again in a minute.
    add('expiring', ms(now + 60000), id)
  elseif job and not parts[@FINISHED] then
    remove('expiring', id)
  elseif not loaded[id] or job then
    drop(id)
    redis.call('SET', key('gone', id), 1, 'PX', args.tombstone_ms)
    n_dropped = n_dropped + 1
  end
end
return commit(n_dropped)
