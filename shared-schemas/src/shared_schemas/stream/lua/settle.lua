-- End attempts: the last events, the change of state and the acknowledgement in one step.
-- ARGS     items: {{id, fence, first, events, transition, how, delay_ms}, …}; events as in record
--          how: "finish" | "schedule" (after delay_ms; counts as a failure) | "enqueue" (at the front)
--          cancelled, paused: transitions for a request that came while the attempt ran
-- RETURNS  for each item "ok" | "lost"
-- WHY      result, terminal event and XACK must not be seen apart; only the holder of the fence may end it
local function settle(item)
  local job, r = load(item.id)
  if not job then return 'lost' end
  if r[SETTLED] == item.fence then return 'ok' end
  if r[FENCE] ~= item.fence or not allows(item.transition, r) then return 'lost' end
  append_new(job, item)
  retire(r[LANE], r[ENTRY])
  local pause = let_go(job)
  set(job, SETTLED, item.fence)
  if item.how == 'finish' then
    finish(job, item.transition)
  elseif item.how == 'schedule' then
    r[FAILURES] = r[FAILURES] + 1
    set_field(job, 'error', item.transition.error)
    schedule(job, now + item.delay_ms, item.transition)
    heed_requests(job, pause)
  else
    enqueue(job, FRONT, item.transition)
    heed_requests(job, pause)
  end
  return 'ok'
end

local answers = {}
for i, item in ipairs(args.items) do answers[i] = settle(item) end
return commit(answers)
