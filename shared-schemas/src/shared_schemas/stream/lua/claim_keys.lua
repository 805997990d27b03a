-- Claim Idempotency-Keys: assign each key to a job id, unless it has one.
-- ARGS     items: {{sha256 of the key, id, fingerprint of the body}, …}; idem_ttl_ms
-- RETURNS  for each item {"claimed" | "known" | "conflict", the id of the key}; known: the key had an id, for the
--          same body;
--          conflict: it had one, for another body
--          A key that release_keys has released may be claimed for any body, and keeps its id.
-- WHY      Jobs with one key may be in several slots, and a script works in one. So the key is assigned to an id first.
--          Every caller then stores the job under that id, and `submit` stores it once.
local answers = {}
for i, item in ipairs(args.items) do
  local name = key('idem', item[1])
  local known = redis.pcall('GET', name)
  -- A value that no script wrote counts as none.
  known = type(known) == 'string' and known or ''
  local id, fingerprint = string.match(known, '^([%l%d.-]+) (%S+)$')
  if id then
    answers[i] = { fingerprint == item[3] and 'known' or 'conflict', id }
  else
    -- The id begins with its queue, and ends with 26 characters.
    local released = string.match(known, '^[%l%d.-]+$')
    if not released or string.sub(released, 1, -27) ~= string.sub(item[2], 1, -27) then released = item[2] end
    redis.call('SET', name, released .. ' ' .. item[3], 'PX', ms(args.idem_ttl_ms))
    answers[i] = { 'claimed', released }
  end
end
return answers
