-- Set a job aside, or ask its attempt to save a checkpoint and let go.
-- ARGS     id; paused, requested: transitions (requested: the job stays running)
-- RETURNS  {"paused" | "requested" | "missing"} | {"refused", state}
-- WHY      the state is read and changed in one step
local function request_pause()
  local job = load(args.id)
  if not job then return { 'missing' } end
  if job.state == args.paused.state then return { 'paused' } end
  if allows(args.requested, job) then
    if job.cancel then return { 'refused', job.state } end
    if not job.pause then
      announce(job, args.requested.event, args.requested.body)
      set(job, 'pause', 1, 'n', job.n)
    end
    redis.call('PUBLISH', tag .. 'control', 'pause ' .. job.id)
    return { 'requested' }
  end
  if not allows(args.paused, job) then return { 'refused', job.state } end
  park(job, args.paused)
  return { 'paused' }
end
return request_pause()
