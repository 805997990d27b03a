-- Cancel a job that is not running, or ask its attempt to end.
-- ARGS     id; cancelled, requested: transitions (requested: the job stays running)
-- RETURNS  {"cancelled" | "requested" | "missing"} | {"refused", state}
-- WHY      the first writer of a terminal state wins: a success that landed before stays one
local function request_cancel()
  local job = load(args.id)
  if not job then return { 'missing' } end
  if allows(args.requested, job) then
    if not job.cancel then
      announce(job, args.requested.event, args.requested.body)
      set(job, 'cancel', 1, 'n', job.n)
    end
    redis.call('PUBLISH', tag .. 'control', 'cancel ' .. job.id)
    return { 'requested' }
  end
  if not allows(args.cancelled, job) then return { 'refused', job.state } end
  finish(job, args.cancelled)
  return { 'cancelled' }
end
return request_cancel()
