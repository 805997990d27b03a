-- Pause a job that is not running, or ask its attempt to save a checkpoint and give the job back.
-- ARGS     id; paused, requested: transitions (requested: the job stays running)
-- RETURNS  {"paused" | "requested" | "missing"} | {"refused", state}
-- WHY      One script reads the state and changes it.
local function request_pause()
  local job, parts = load(args.id)
  if not job then return { 'missing' } end
  if parts[@STATE] == args.paused.state then return { 'paused' } end
  if allows(args.requested, parts) then
    if parts[@CANCEL] then return { 'refused', parts[@STATE] } end
    if not parts[@PAUSE] then
      set(job, @PAUSE, 1)
      append_change(job, args.requested.event, args.requested.body)
    end
    redis.call('PUBLISH', tag .. 'control', 'pause ' .. job.id)
    return { 'requested' }
  end
  if not allows(args.paused, parts) then return { 'refused', parts[@STATE] } end
  pause_job(job, args.paused)
  return { 'paused' }
end
return commit(request_pause())
