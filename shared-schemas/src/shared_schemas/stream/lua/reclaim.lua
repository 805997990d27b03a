-- Take running jobs back from workers that stopped renewing.
-- ARGS     items: {{id, fence, beat}, …} as the caller saw them, at least half a lease ago by its own clock
--          lost, poison: transitions; crash_limit
-- RARE     cancelled, paused: transitions for a request that came while the attempt ran
-- RETURNS  for each item "requeued" | "poison" | "corrupt": the stored job is damaged, and is a dead letter now |
--          "alive": since then the job was renewed, settled or claimed again, or it is of a newer version
--          A job whose worker was lost crash_limit times is poison if it ran alone the last time. If others ran
--          beside it, one of them may be the cause. Then it becomes a suspect, and runs alone from now on.
-- WHY      The worker is dead if the beat has not changed. That its lease is over is no proof: somebody may have set
--          the clock of Redis forward.
local function reclaim(item)
  local job, parts = load(item.id)
  if not job and parts then return 'alive' end
  if not job then
    remove('leases', item.id)
    return loaded[item.id] and 'corrupt' or 'alive'
  end
  if (parts[@FENCE] or '') ~= item.fence or parts[@BEAT] ~= item.beat or not allows(args.lost, parts) then
    return 'alive'
  end
  acknowledge(parts[@LANE], parts[@ENTRY])
  local pause = let_go(job)
  parts[@CRASHES] = parts[@CRASHES] + 1
  local is_limit = parts[@CRASHES] >= args.crash_limit
  if is_limit and not parts[@RAN_ALONE] then set(job, @SUSPECT, 1) end
  enqueue(job, @FRONT, args.lost)
  if is_limit and parts[@RAN_ALONE] and not parts[@CANCEL] then
    finish(job, args.poison)
    return 'poison'
  end
  apply_requests(job, pause)
  return 'requeued'
end

local answers = {}
for i, item in ipairs(args.items) do answers[i] = reclaim(item) end
return commit(answers)
