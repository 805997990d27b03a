-- How a queue stands.
-- ARGS     states, lanes, queued (a state)
-- RETURNS  {for each state its jobs by lane, dead letters, workers, the id of the oldest queued job or "",
--          the id of the oldest entry of the log or ""}
-- WHY      one question for each queue, so that those of all queues go to Redis together
local counts, oldest = {}, nil
for i, state in ipairs(args.states) do
  counts[i] = {}
  for j, lane in ipairs(args.lanes) do counts[i][j] = ask('ZCARD', tag .. listing(state, lane)) end
end
for _, lane in ipairs(args.lanes) do
  local first = ask('ZRANGE', tag .. listing(args.queued, lane), 0, 0)[1]
  if first and (not oldest or first < oldest) then oldest = first end
end
local log = ask('XRANGE', tag .. 'log', '-', '+', 'COUNT', 1)[1]
return {
  counts,
  ask('ZCARD', tag .. 'dead'),
  ask('ZCOUNT', tag .. 'workers', ms(now), '+inf'),
  oldest or '',
  log and log[1] or '',
}
