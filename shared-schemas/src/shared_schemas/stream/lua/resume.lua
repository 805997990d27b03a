-- Let a paused job go on, or withdraw a pause that its attempt has not yet heeded.
-- ARGS     id; queued, scheduled, withdrawn: transitions
-- RETURNS  {"queued" | "scheduled" | "withdrawn" | "missing"} | {"refused", state: it has ended}
-- WHY      the state is read and changed in one step
local function resume()
  local job = load(args.id)
  if not job then return { 'missing' } end
  if allows(args.withdrawn, job) and job.pause then
    redis.call('HDEL', key('job', job.id), 'pause')
    announce(job, args.withdrawn.event, args.withdrawn.body)
    set(job, 'n', job.n)
    return { 'withdrawn' }
  end
  if not allows(args.queued, job) then
    -- A job that goes on already: the answer to the first of two calls was lost.
    for _, answer in ipairs({ 'queued', 'scheduled', 'withdrawn' }) do
      if job.state == args[answer].state then return { answer } end
    end
    return { 'refused', job.state }
  end
  -- It may have passed while the job was paused, which ends no job.
  if job.attempt == 0 and job.deadline then redis.call('ZADD', tag .. 'deadlines', job.deadline, job.id) end
  local due = job.due and tonumber(job.due) > now and tonumber(job.due) or nil
  if due or job.waiting then
    schedule(job, due, args.scheduled)
    return { 'scheduled' }
  end
  enqueue(job, job.attempt > 0 and FRONT or job.home, args.queued)
  return { 'queued' }
end
return resume()
