-- Say which job each Idempotency-Key stands for, from now on if it stands for none.
-- ARGS     items: {{sha256 of the key, id, fingerprint}, …}; idem_ttl_ms
-- RETURNS  for each item {"claimed" | "known" | "conflict", id}: known for the same body, conflict for another one
-- WHY      the jobs of one key may lie in several slots, and no script can look into all: the key is claimed here first, for an
--          id, and the job is stored under that id, by whoever asks, once
local answers = {}
for i, item in ipairs(args.items) do
  local name = key('idem', item[1])
  local known = redis.pcall('GET', name)
  -- What no script wrote stands for no job.
  local id, fingerprint = string.match(type(known) == 'string' and known or '', '^([%l%d.-]+) (%S+)$')
  if id then
    answers[i] = { fingerprint == item[3] and 'known' or 'conflict', id }
  else
    redis.call('SET', name, item[2] .. ' ' .. item[3], 'PX', ms(args.idem_ttl_ms))
    answers[i] = { 'claimed', item[2] }
  end
end
return answers
