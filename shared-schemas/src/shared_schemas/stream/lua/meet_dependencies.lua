-- The jobs that these jobs waited for have succeeded.
-- ARGS     ids; due: transition
-- RETURNS  how many became ready
-- WHY      a job that also waits for a time stays scheduled until then
local ready = 0
for _, id in ipairs(args.ids) do
  redis.call('ZREM', tag .. 'waiting', id)
  local job = load(id)
  if job and job.waiting then
    redis.call('HDEL', key('job', id), 'waiting')
    if allows(args.due, job) then
      if job.due and tonumber(job.due) > now then
        -- Promotion may have passed it by before the clock was set back.
        redis.call('ZADD', tag .. 'due', job.due, id)
      else
        enqueue(job, job.home, args.due)
        ready = ready + 1
      end
    end
  end
end
return ready
