-- Append the events of running attempts.
-- ARGS     items: {{id, fence, first, events = {{event, body, field or nil}, …}}, …}
--          first: how many events of the attempt the producer sent before these, so that a repeated call appends none
--          field: of the hash, keeps the newest event of this kind
-- RETURNS  the places, from 1, of the items whose attempt no longer owns its job
-- WHY      An attempt may append events only while the job has its fence.
local function record(item)
  local job, parts = load(item.id)
  if not job or parts[@FENCE] ~= item.fence then return false end
  append_new(job, item.first, item.events)
  set(job, @RECORDED, math.max(parts[@RECORDED], item.first + #item.events))
  return true
end

local lost = {}
for i, item in ipairs(args.items) do
  if not record(item) then lost[#lost + 1] = i end
end
return commit(lost)
