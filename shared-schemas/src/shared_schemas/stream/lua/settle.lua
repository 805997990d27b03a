-- End attempts: the last events, the change of state and the acknowledgement in one step.
-- ARGS     items: {{id, fence, first, events, how, reason, body, delay_ms, result, digest, error, dead, facts}, …}
--          first, events: as in record
--          how: "finish" | "schedule" (after delay_ms; counts as a failure) | "enqueue" (in the lane front)
--          result, error, facts: JSON, and digest: a text, which the hash keeps; dead: the error code of a dead letter
--          rows: for each reason its transition, without the body
-- RARE     cancelled, paused: transitions for a request that came while the attempt ran
-- RETURNS  the places, from 1, of the items whose attempt no longer owned its job
-- WHY      The result, the terminal event and XACK take effect together. Only the attempt with the fence may end the
--          job.
local function settle(id, fence, first, events, how, reason, body, delay_ms, result, digest, error, dead, facts)
  local job, parts = load(id)
  if not job then return false end
  if parts[@SETTLED] == fence then return true end
  -- All items with the same reason use one table, so each field is set again for each item.
  local transition = args.rows[reason]
  if parts[@FENCE] ~= fence or not allows(transition, parts) then return false end
  transition.body, transition.result, transition.digest, transition.error, transition.dead =
    body, result, digest, error, dead
  transition.facts = facts
  append_new(job, first, events)
  acknowledge(parts[@LANE], parts[@ENTRY])
  local pause = let_go(job)
  n_ended = n_ended + 1
  set(job, @SETTLED, fence)
  if how == 'finish' then
    finish(job, transition)
  elseif how == 'schedule' then
    parts[@FAILURES] = parts[@FAILURES] + 1
    set_field(job, 'error', error)
    schedule(job, now + delay_ms, transition)
    apply_requests(job, pause)
  else
    enqueue(job, @FRONT, transition)
    apply_requests(job, pause)
  end
  return true
end

local lost = {}
for i, item in ipairs(args.items) do
  if not settle(unpack(item, 1, 13)) then lost[#lost + 1] = i end
end
return commit(lost)
