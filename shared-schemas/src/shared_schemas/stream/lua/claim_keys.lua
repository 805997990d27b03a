-- Claim Idempotency-Keys: assign each key to a job id, unless it has one.
-- ARGS     items: {{sha256 of the key, id, fingerprint of the body}, …}; idem_ttl_ms
-- RETURNS  for each item {"claimed" | "known" | "conflict", the id of the key}; known: the key had an id, for the
--          same body;
--          conflict: it had one, for another body
-- WHY      Jobs with one key may be in several slots, and a script works in one. So the key is assigned to an id first.
--          Every caller then stores the job under that id, and `submit` stores it once.
local answers = {}
for i, item in ipairs(args.items) do
  local name = key('idem', item[1])
  local known = redis.pcall('GET', name)
  -- A value that no script wrote counts as none.
  local id, fingerprint = string.match(type(known) == 'string' and known or '', '^([%l%d.-]+) (%S+)$')
  if id then
    answers[i] = { fingerprint == item[3] and 'known' or 'conflict', id }
  else
    redis.call('SET', name, item[2] .. ' ' .. item[3], 'PX', ms(args.idem_ttl_ms))
    answers[i] = { 'claimed', item[2] }
  end
end
return answers
