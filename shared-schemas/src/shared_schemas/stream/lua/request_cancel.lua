-- Cancel a job that is not running, or ask its attempt to end.
-- ARGS     id; cancelled, requested: transitions (requested: the job stays running)
-- RETURNS  {"cancelled" | "requested" | "missing"} | {"refused", state}
-- WHY      the first writer of a terminal state wins: a success that landed before stays one
local function request_cancel()
  local job, r = load(args.id)
  if not job then return { 'missing' } end
  if allows(args.requested, r) then
    if not r[@CANCEL] then
      set(job, @CANCEL, 1)
      announce(job, args.requested.event, args.requested.body)
    end
    redis.call('PUBLISH', tag .. 'control', 'cancel ' .. job.id)
    return { 'requested' }
  end
  if not allows(args.cancelled, r) then return { 'refused', r[@STATE] } end
  finish(job, args.cancelled)
  return { 'cancelled' }
end
return commit(request_cancel())
