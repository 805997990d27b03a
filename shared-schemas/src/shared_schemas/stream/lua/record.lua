-- Append the events of running attempts.
-- ARGS     items: {{id, fence, first, events = {{event, body, field or nil}, …}}, …}
--          first: the producer's own count of this attempt's events before these, which makes the call repeatable
--          field: the hash field that keeps the newest event of this sort
-- RETURNS  the places of the items whose job another attempt owns, or which has ended
-- WHY      an event may be appended only while its attempt's fence holds
local function record(item)
  local job, r = load(item.id)
  if not job or r[@FENCE] ~= item.fence then return false end
  append_new(job, item.first, item.events)
  set(job, @RECORDED, math.max(r[@RECORDED], item.first + #item.events))
  return true
end

local lost = {}
for i, item in ipairs(args.items) do
  if not record(item) then lost[#lost + 1] = i end
end
return commit(lost)
