-- Take running jobs back from workers that stopped renewing.
-- ARGS     items: {{id, fence, beat}, …} as the caller saw them a while ago on its own clock
--          lost, cancelled, paused: transitions; poison: transition; crash_limit
-- RETURNS  for each item "requeued" | "poison" | "alive": it was renewed, settled or taken over meanwhile
--          A job whose worker was lost crash_limit times is poison if it ran alone the last time. If others ran beside it,
--          it becomes a suspect and runs alone from now on, so that nobody pays for a neighbour.
-- WHY      a beat that did not move is the proof; Redis' clock alone could have been set forward
local function reclaim(item)
  local job = load(item.id)
  if not job then
    redis.call('ZREM', tag .. 'leases', item.id)
    return 'alive'
  end
  if job.fence ~= item.fence or job.beat ~= item.beat or not allows(args.lost, job) then return 'alive' end
  retire(job.lane, job.entry)
  let_go(job)
  job.crashes = job.crashes + 1
  set(job, 'crashes', job.crashes)
  local is_limit = job.crashes >= args.crash_limit
  if is_limit and not job.suspect and not job.alone then
    job.suspect = 1
    set(job, 'suspect', 1)
  end
  enqueue(job, FRONT, args.lost)
  if is_limit and job.alone and not job.cancel then
    finish(job, args.poison)
    return 'poison'
  end
  heed_requests(job)
  return 'requeued'
end

local answers = {}
for i, item in ipairs(args.items) do answers[i] = reclaim(item) end
return answers
