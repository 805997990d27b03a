-- Deal with entries that were delivered long ago and whose job nobody began.
-- ARGS     entries: {{lane, entry, id}, …} claimed with XAUTOCLAIM; running, queued: state names
-- RETURNS  how many were made ready again
-- WHY      only the job's hash says whether an entry still stands for it
local again = 0
for _, claimed in ipairs(args.entries) do
  local lane, entry, id = claimed[1], claimed[2], claimed[3]
  local job = id and load(id)
  if not job or job.entry ~= entry then
    retire(lane, entry)
  elseif job.state == args.queued then
    hand_back(job)
    again = again + 1
  elseif job.state ~= args.running then
    retire(lane, entry)
  end
end
return again
