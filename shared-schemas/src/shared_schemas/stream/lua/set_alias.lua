-- Let an alias of a model name a version.
-- ARGS     name, alias, version; token: of the switch that this ends, or none, which ends any other switch
-- RETURNS  1 | 0: no such version is published | -1: another request has moved or will move the alias
-- WHY      An alias must name a published version. The script checks that and sets it in one step. A switch waits for
--          workers, and a request that came later must win.
local switch = 'switch:' .. args.alias
if not redis.call('ZSCORE', tag .. 'published:' .. args.name, args.version) then return 0 end
if not args.token then
  redis.call('HDEL', model_key(args.name), switch)
elseif redis.call('HGET', model_key(args.name), switch) ~= args.token then
  return -1
else
  redis.call('ZREM', tag .. 'wanted', args.token .. ' ' .. args.name .. '@' .. args.version)
end
redis.call('HSET', model_key(args.name), 'alias:' .. args.alias, args.version)
return 1
