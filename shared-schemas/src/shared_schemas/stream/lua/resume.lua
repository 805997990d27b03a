-- Let a paused job go on, or withdraw a request to pause that its attempt has not applied yet.
-- ARGS     id; queued, scheduled, withdrawn: transitions
-- RETURNS  {"queued" | "scheduled" | "withdrawn" | "missing"} | {"refused", state: it has ended}
-- WHY      One script reads the state and changes it.
local function resume()
  local job, parts = load(args.id)
  if not job then return { 'missing' } end
  if allows(args.withdrawn, parts) and parts[@PAUSE] then
    set(job, @PAUSE, false)
    append_change(job, args.withdrawn.event, args.withdrawn.body)
    return { 'withdrawn' }
  end
  if not allows(args.queued, parts) then
    -- The job goes on already: this repeats a call whose answer was lost.
    for _, answer in ipairs({ 'queued', 'scheduled', 'withdrawn' }) do
      if parts[@STATE] == args[answer].state then return { answer } end
    end
    return { 'refused', parts[@STATE] }
  end
  -- The deadline may have passed during the pause. A pause fails no job, so it is put back into the index only now.
  if parts[@ATTEMPT] == 0 and parts[@DEADLINE] then add('deadlines', parts[@DEADLINE], job.id) end
  local due = parts[@DUE] and tonumber(parts[@DUE]) > now and tonumber(parts[@DUE]) or nil
  if due or parts[@WAITING] then
    schedule(job, due, args.scheduled)
    return { 'scheduled' }
  end
  enqueue(job, parts[@ATTEMPT] > 0 and @FRONT or parts[@HOME] or parts[@LANE], args.queued)
  return { 'queued' }
end
return commit(resume())
