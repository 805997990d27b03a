-- Let a paused job go on, or withdraw a pause that its attempt has not yet heeded.
-- ARGS     id; queued, scheduled, withdrawn: transitions
-- RETURNS  {"queued" | "scheduled" | "withdrawn" | "missing"} | {"refused", state: it has ended}
-- WHY      the state is read and changed in one step
local function resume()
  local job, r = load(args.id)
  if not job then return { 'missing' } end
  if allows(args.withdrawn, r) and r[@PAUSE] then
    set(job, @PAUSE, false)
    announce(job, args.withdrawn.event, args.withdrawn.body)
    return { 'withdrawn' }
  end
  if not allows(args.queued, r) then
    -- A job that goes on already: the answer to the first of two calls was lost.
    for _, answer in ipairs({ 'queued', 'scheduled', 'withdrawn' }) do
      if r[@STATE] == args[answer].state then return { answer } end
    end
    return { 'refused', r[@STATE] }
  end
  -- It may have passed while the job was paused, which ends no job.
  if r[@ATTEMPT] == 0 and r[@DEADLINE] then add('deadlines', r[@DEADLINE], job.id) end
  local due = r[@DUE] and tonumber(r[@DUE]) > now and tonumber(r[@DUE]) or nil
  if due or r[@WAITING] then
    schedule(job, due, args.scheduled)
    return { 'scheduled' }
  end
  enqueue(job, r[@ATTEMPT] > 0 and @FRONT or r[@HOME] or r[@LANE], args.queued)
  return { 'queued' }
end
return commit(resume())
