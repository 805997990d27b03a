-- Release Idempotency-Keys whose jobs were refused: another body may have each of them now.
-- ARGS     items: {{sha256 of the key, id, fingerprint of the body}, …}, as claim_keys gave them
-- RETURNS  how many were released
-- WHY      The key keeps its id, without the body. So a request with the same key, which found room at the same time,
--          and whoever has the key next store their job under one id, and only one of them can.
local n = 0
for _, item in ipairs(args.items) do
  local name = key('idem', item[1])
  if redis.pcall('GET', name) == item[2] .. ' ' .. item[3] then
    redis.call('SET', name, item[2], 'KEEPTTL')
    n = n + 1
  end
end
return n
