-- Delete one finished job and all that belongs to it.
-- ARGS     id; terminal: states {a = true, b = true}; tombstone_ms: how long its Idempotency-Key cannot create it again
-- RETURNS  {"deleted" | "missing"} | {"refused", state: it has not ended}
-- WHY      The job and its listings disappear together. The script checks that the job has ended.
local function delete()
  local job, parts = load(args.id)
  if not job then return { 'missing' } end
  if not args.terminal[parts[@STATE]] then return { 'refused', parts[@STATE] } end
  local was_claimed = redis.call('HGET', key('job', args.id), 'claimed')
  drop(args.id)
  if was_claimed then redis.call('SET', key('deleted', args.id), 1, 'PX', args.tombstone_ms) end
  return { 'deleted' }
end
return commit(delete())
