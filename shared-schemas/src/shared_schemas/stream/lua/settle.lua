-- End attempts: the last events, the change of state and the acknowledgement in one step.
-- ARGS     items: {{id, fence, first, events, how, reason, body, delay_ms, result, digest, error, dead, facts}, …}; events as in
--          record; how: "finish" | "schedule" (after delay_ms; counts as a failure) | "enqueue" (at the front); result,
--          digest, error, dead, facts: as finish takes them
--          rows: for each reason its transition, less the body
-- SELDOM   cancelled, paused: transitions for a request that came while the attempt ran
-- RETURNS  the places of the items whose attempt no longer owned its job
-- WHY      result, terminal event and XACK must not be seen apart; only the holder of the fence may end it
local function settle(id, fence, first, events, how, reason, body, delay_ms, result, digest, error, dead, facts)
  local job, r = load(id)
  if not job then return false end
  if r[@SETTLED] == fence then return true end
  -- One table for all with the same reason, filled anew for each.
  local transition = args.rows[reason]
  if r[@FENCE] ~= fence or not allows(transition, r) then return false end
  transition.body, transition.result, transition.digest, transition.error, transition.dead = body, result, digest, error, dead
  transition.facts = facts
  append_new(job, first, events)
  retire(r[@LANE], r[@ENTRY])
  local pause = let_go(job)
  set(job, @SETTLED, fence)
  if how == 'finish' then
    finish(job, transition)
  elseif how == 'schedule' then
    r[@FAILURES] = r[@FAILURES] + 1
    set_field(job, 'error', error)
    schedule(job, now + delay_ms, transition)
    heed_requests(job, pause)
  else
    enqueue(job, @FRONT, transition)
    heed_requests(job, pause)
  end
  return true
end

local lost = {}
for i, item in ipairs(args.items) do
  if not settle(unpack(item, 1, 13)) then lost[#lost + 1] = i end
end
return commit(lost)
