-- Set a job aside, or ask its attempt to save a checkpoint and let go.
-- ARGS     id; paused, requested: transitions (requested: the job stays running)
-- RETURNS  {"paused" | "requested" | "missing"} | {"refused", state}
-- WHY      the state is read and changed in one step
local function request_pause()
  local job, r = load(args.id)
  if not job then return { 'missing' } end
  if r[@STATE] == args.paused.state then return { 'paused' } end
  if allows(args.requested, r) then
    if r[@CANCEL] then return { 'refused', r[@STATE] } end
    if not r[@PAUSE] then
      set(job, @PAUSE, 1)
      announce(job, args.requested.event, args.requested.body)
    end
    redis.call('PUBLISH', tag .. 'control', 'pause ' .. job.id)
    return { 'requested' }
  end
  if not allows(args.paused, r) then return { 'refused', r[@STATE] } end
  park(job, args.paused)
  return { 'paused' }
end
return commit(request_pause())
