-- Point an alias of a model at a version.
-- ARGS     name, alias, version
-- RETURNS  1 | 0: there is no such published version
-- WHY      the alias may only name a version that is there
if not redis.call('ZSCORE', tag .. 'published:' .. args.name, args.version) then return 0 end
redis.call('HSET', model_key(args.name), 'alias:' .. args.alias, args.version)
return 1
