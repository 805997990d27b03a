-- Take running jobs back from workers that stopped renewing.
-- ARGS     items: {{id, fence, beat}, …} as the caller saw them a while ago on its own clock
--          lost, poison: transitions; crash_limit
-- SELDOM   cancelled, paused: transitions for a request that came while the attempt ran
-- RETURNS  for each item "requeued" | "poison" | "corrupt": its record could not be worked with, and it is a dead letter |
--          "alive": it was renewed, settled or taken over meanwhile, or is of a newer version
--          A job whose worker was lost crash_limit times is poison if it ran alone the last time. If others ran beside it,
--          it becomes a suspect and runs alone from now on, so that nobody pays for a neighbour.
-- WHY      a beat that did not move is the proof; Redis' clock alone could have been set forward
local function reclaim(item)
  local job, r = load(item.id)
  if not job and r then return 'alive' end
  if not job then
    remove('leases', item.id)
    return loaded[item.id] and 'corrupt' or 'alive'
  end
  if (r[@FENCE] or '') ~= item.fence or r[@BEAT] ~= item.beat or not allows(args.lost, r) then return 'alive' end
  retire(r[@LANE], r[@ENTRY])
  local pause = let_go(job)
  r[@CRASHES] = r[@CRASHES] + 1
  local is_limit = r[@CRASHES] >= args.crash_limit
  if is_limit and not r[@RAN_ALONE] then set(job, @SUSPECT, 1) end
  enqueue(job, @FRONT, args.lost)
  if is_limit and r[@RAN_ALONE] and not r[@CANCEL] then
    finish(job, args.poison)
    return 'poison'
  end
  heed_requests(job, pause)
  return 'requeued'
end

local answers = {}
for i, item in ipairs(args.items) do answers[i] = reclaim(item) end
return commit(answers)
