-- Look up ids of models.
-- ARGS     asked: {{"job", its id, ""} | {"version", name, number} | {"alias", name, alias}, …}
-- RETURNS  {number of jobs with a staged version, {for each item: "name@version" of the job | when the version was
--          published | the version that the alias names | false if there is none, …}}
-- WHY      One call answers for all ids. A staged version may become visible, so the caller must know of it.
local function look_up(kind, name, which)
  if kind == 'job' then return redis.call('GET', tag .. 'job:' .. name) end
  if kind == 'version' then return redis.call('HGET', version_key(name, which), 'published') end
  return redis.call('HGET', model_key(name), 'alias:' .. which)
end

local answers = {}
for i, each in ipairs(args.asked) do answers[i] = look_up(each[1], each[2], each[3]) end
return { redis.call('SCARD', tag .. 'staging'), answers }
