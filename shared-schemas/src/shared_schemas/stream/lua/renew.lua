-- Extend the leases of a worker's attempts and its registration, and return the requests to its attempts.
-- ARGS     worker, lease_ms, items: {{id, fence}, …}
--          facts: {field, value, …} of the worker; empty if the registration stays as it is
-- RETURNS  for each item {held (0|1), cancel (0|1), pause (0|1)}
-- WHY      The script checks the fence before XCLAIM resets the idle time, so a stale worker cannot take a job back.
local function renew(item)
  local job, parts = load(item.id)
  if not job or parts[@FENCE] ~= item.fence then return { 0, 0, 0 } end
  set(job, @BEAT, parts[@BEAT] + 1)
  add('leases', ms(now + args.lease_ms), job.id)
  redis.pcall('XCLAIM', key('ready', parts[@LANE]), @GROUP, args.worker, 0, parts[@ENTRY], 'JUSTID')
  return { 1, parts[@CANCEL] and 1 or 0, parts[@PAUSE] and 1 or 0 }
end

-- This removal comes first. When Redis is out of memory, it refuses the first write of a script if that may need
-- memory, but no write after it. Leases must be renewed even then, or the running jobs would count as crashed.
safe_call('ZREMRANGEBYSCORE', tag .. 'workers', '-inf', ms(now))
local answers = {}
for i, item in ipairs(args.items) do answers[i] = renew(item) end
if #args.facts > 0 then
  safe_call('HSET', key('worker', args.worker), 'seen', ms(now), unpack(args.facts))
  redis.call('PEXPIRE', key('worker', args.worker), ms(args.lease_ms * 2))
  redis.call('ZADD', tag .. 'workers', ms(now + args.lease_ms * 2), args.worker)
end
return commit(answers)
