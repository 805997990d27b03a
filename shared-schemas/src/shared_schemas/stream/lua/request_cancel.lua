-- Cancel jobs that are not running, or ask their attempts to end.
-- ARGS     id: of one job, or ids: of several; cancelled, requested: transitions (requested: the job stays running)
-- RETURNS  {"cancelled" | "requested" | "missing"} | {"refused", state}; for ids, an array of these
-- WHY      The first terminal state stays: a job that has already succeeded is not cancelled.
local function request_cancel(id)
  local job, parts = load(id)
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
if args.id then return commit(request_cancel(args.id)) end
local answers = {}
for i, id in ipairs(args.ids) do answers[i] = request_cancel(id) end
return commit(answers)
