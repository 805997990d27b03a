-- What ids of models name now.
-- ARGS     asked: {{"job", its id, ""} | {"version", name, number} | {"alias", name, alias}, …}
-- RETURNS  {how many jobs wait for what they published to be made visible, {for each asked "name@version" of a job, when the
--          version was published, the version of an alias, or false}}
-- WHY      one call for all of them, and it must be known whether there may be more
local function look_up(kind, name, which)
  if kind == 'job' then return redis.call('GET', tag .. 'job:' .. name) end
  if kind == 'version' then return redis.call('HGET', version_key(name, which), 'published') end
  return redis.call('HGET', model_key(name), 'alias:' .. which)
end

local answers = {}
for i, each in ipairs(args.asked) do answers[i] = look_up(each[1], each[2], each[3]) end
return { redis.call('SCARD', tag .. 'staging'), answers }
