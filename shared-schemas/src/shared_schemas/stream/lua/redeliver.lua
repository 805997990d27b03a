-- Deal with entries that were delivered long ago and whose job nobody began.
-- ARGS     entries: {{lane, entry, id}, …} claimed with XAUTOCLAIM; running, queued: state names
--          thinned: lanes with pending entries that were deleted, which XAUTOCLAIM of Redis 6.2 returns without their id
-- RETURNS  how many were made ready again
-- WHY      only the job's hash says whether an entry still stands for it
local again = 0
for _, lane in ipairs(args.thinned) do
  for _, pending in ipairs(redis.call('XPENDING', key('ready', lane), GROUP, '-', '+', 1000)) do
    if #redis.call('XRANGE', key('ready', lane), pending[1], pending[1]) == 0 then retire(lane, pending[1]) end
  end
end
for _, claimed in ipairs(args.entries) do
  local lane, entry, id = claimed[1], claimed[2], claimed[3]
  local job = id and load(id)
  local r = job and job.record
  if not job or r[ENTRY] ~= entry then
    retire(lane, entry)
  elseif r[STATE] == args.queued then
    hand_back(job)
    again = again + 1
  elseif r[STATE] ~= args.running then
    retire(lane, entry)
  end
end
return commit(again)
