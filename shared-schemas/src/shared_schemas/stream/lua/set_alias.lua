-- Let an alias of a model name a version.
-- ARGS     name, alias, version
-- RETURNS  1 | 0: no such version is published
-- WHY      An alias must name a published version. The script checks that and sets it in one step.
if not redis.call('ZSCORE', tag .. 'published:' .. args.name, args.version) then return 0 end
redis.call('HSET', model_key(args.name), 'alias:' .. args.alias, args.version)
return 1
