-- Cancel a job that is not running, or ask its attempt to end.
-- ARGS     id; cancelled, requested: transitions (requested: the job stays running)
-- RETURNS  {"cancelled" | "requested" | "missing"} | {"refused", state}
-- WHY      The first terminal state stays: a job that has already succeeded is not cancelled.
local function request_cancel()
  local job, parts = load(args.id)
  if not job then return { 'missing' } end
  if allows(args.requested, parts) then
    if not parts[@CANCEL] then
      set(job, @CANCEL, 1)
      append_change(job, args.requested.event, args.requested.body)
    end
    redis.call('PUBLISH', tag .. 'control', 'cancel ' .. job.id)
    return { 'requested' }
  end
  if not allows(args.cancelled, parts) then return { 'refused', parts[@STATE] } end
  finish(job, args.cancelled)
  return { 'cancelled' }
end
return commit(request_cancel())
