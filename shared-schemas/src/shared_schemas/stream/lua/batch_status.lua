-- Count the jobs of a batch by state.
-- ARGS     id; first, last: ids of its first and its last possible job; states, lanes
-- RETURNS  {lines that are not blank, created (ms), is_whole (0|1), cancelled (ms, or ""), lines that are no job, {jobs in each state}};
--          lines: -1 if there is no such batch
-- WHY      The jobs of a batch have consecutive ids, so each listing has them side by side, and counts them without
--          reading them.
local fields = redis.call('HMGET', key('batch', args.id), 'lines', 'created', 'whole', 'cancelled', 'blank')
if not fields[1] then return { -1, '', 0, '', 0, {} } end
local counts = {}
for i, state in ipairs(args.states) do
  counts[i] = 0
  for _, lane in ipairs(args.lanes) do
    counts[i] = counts[i] + safe_call('ZLEXCOUNT', tag .. listing(state, lane), '[' .. args.first, '[' .. args.last)
  end
end
return {
  -- An older version has noted no blank lines.
  tonumber(fields[1]) - tonumber(fields[5] or '0'),
  fields[2],
  fields[3] and 1 or 0,
  fields[4] or '',
  redis.call('HLEN', key('batch_errors', args.id)),
  counts,
}
