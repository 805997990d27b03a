-- Drop one finished job and all that belongs to it.
-- ARGS     id; terminal: states {a = true, b = true}; tombstone_ms: for how long no Idempotency-Key makes it again
-- RETURNS  {"deleted" | "missing"} | {"refused", state}
-- WHY      a job and its listings must not be seen apart, and only what has ended may go
local function delete()
  local job, r = load(args.id)
  if not job then return { 'missing' } end
  if not args.terminal[r[@STATE]] then return { 'refused', r[@STATE] } end
  local was_claimed = redis.call('HGET', key('job', args.id), 'claimed')
  drop(args.id)
  if was_claimed then redis.call('SET', key('deleted', args.id), 1, 'PX', args.tombstone_ms) end
  return { 'deleted' }
end
return commit(delete())
