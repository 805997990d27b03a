-- Count the jobs and workers of a queue.
-- ARGS     states, lanes; queued: the name of that state
-- RETURNS  {for each state {jobs in each lane, …}, dead letters, workers, the id of the oldest queued job or "",
--          the id of the oldest entry of the log or "", the attempts that ended in the measured time, that time (ms)}
-- WHY      One call for each queue, so that the calls for all queues go to Redis in one write.
local counts, oldest = {}, nil
for i, state in ipairs(args.states) do
  counts[i] = {}
  for j, lane in ipairs(args.lanes) do counts[i][j] = safe_call('ZCARD', tag .. listing(state, lane)) end
end
for _, lane in ipairs(args.lanes) do
  local first = safe_call('ZRANGE', tag .. listing(args.queued, lane), 0, 0)[1]
  if first and (not oldest or first < oldest) then oldest = first end
end
local log = safe_call('XRANGE', tag .. 'log', '-', '+', 'COUNT', 1)[1]
local ended, took = measure_pace()
return {
  counts,
  safe_call('ZCARD', tag .. 'dead'),
  safe_call('ZCOUNT', tag .. 'workers', ms(now), '+inf'),
  oldest or '',
  log and log[1] or '',
  ended,
  took,
}
