-- Ask the workers of a model to load a version, before an alias is moved to it.
-- ARGS     name, alias, version, token: of this switch; keep_ms: how long workers are asked
-- RETURNS  1 | 0: no such version is published
-- WHY      The token lets set_alias find out whether a later request has moved the alias meanwhile.
local wanted = tag .. 'wanted'
if not redis.call('ZSCORE', tag .. 'published:' .. args.name, args.version) then return 0 end
redis.call('HSET', model_key(args.name), 'switch:' .. args.alias, args.token)
redis.call('ZREMRANGEBYSCORE', wanted, '-inf', ms(now))
redis.call('ZADD', wanted, ms(now + args.keep_ms), args.token .. ' ' .. args.name .. '@' .. args.version)
return 1
