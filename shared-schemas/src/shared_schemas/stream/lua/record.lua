-- Append the events of running attempts.
-- ARGS     items: {{id, fence, first, events = {{event, body, field or nil}, …}}, …}
--          first: the producer's own count of this attempt's events before these, which makes the call repeatable
--          field: the hash field that keeps the newest event of this sort
-- RETURNS  for each item "ok" | "lost": another attempt owns the job, or it has ended
-- WHY      an event may be appended only while its attempt's fence holds
local function record(item)
  local job, r = load(item.id)
  if not job or r[FENCE] ~= item.fence then return 'lost' end
  append_new(job, item.first, item.events)
  set(job, RECORDED, math.max(r[RECORDED], item.first + #item.events))
  return 'ok'
end

local answers = {}
for i, item in ipairs(args.items) do answers[i] = record(item) end
return commit(answers)
