-- Extend the leases of a worker's attempts and its own registration; bring back what is asked of them.
-- ARGS     worker, lease_ms, items: {{id, fence}, …}
--          facts: {field, value, …} of the worker, or empty to leave the registration alone
-- RETURNS  for each item {held (0|1), cancel (0|1), pause (0|1)}
-- WHY      ownership is checked before XCLAIM resets the idle time, so a stale worker cannot take a job back
local function renew(item)
  local job, r = load(item.id)
  if not job or r[@FENCE] ~= item.fence then return { 0, 0, 0 } end
  set(job, @BEAT, r[@BEAT] + 1)
  add('leases', ms(now + args.lease_ms), job.id)
  redis.pcall('XCLAIM', key('ready', r[@LANE]), @GROUP, args.worker, 0, r[@ENTRY], 'JUSTID')
  return { 1, r[@CANCEL] and 1 or 0, r[@PAUSE] and 1 or 0 }
end

-- First, because Redis without memory refuses what a script adds only as long as it has written nothing: leases must
-- be kept all the same, or running jobs would be taken for jobs that crash their workers.
ask('ZREMRANGEBYSCORE', tag .. 'workers', '-inf', ms(now))
local answers = {}
for i, item in ipairs(args.items) do answers[i] = renew(item) end
if #args.facts > 0 then
  ask('HSET', key('worker', args.worker), 'seen', ms(now), unpack(args.facts))
  redis.call('PEXPIRE', key('worker', args.worker), ms(args.lease_ms * 2))
  redis.call('ZADD', tag .. 'workers', ms(now + args.lease_ms * 2), args.worker)
end
return commit(answers)
