-- Delete a published version of a model.
-- ARGS     name, version
-- RETURNS  {"deleted" | "missing"} | {"aliased", the alias, other than `latest`, that names this version}
-- WHY      The version, its aliases and its entries in indexes disappear together. `latest` moves to the newest version
--          that is left. No number is given again.
local model, version = model_key(args.name), tostring(args.version)
local published = tag .. 'published:' .. args.name
if not redis.call('ZSCORE', published, version) then return { 'missing' } end
local facts = redis.call('HGETALL', model)
for i = 1, #facts, 2 do
  local alias = string.match(facts[i], '^alias:(.+)$')
  if alias and alias ~= 'latest' and facts[i + 1] == version then return { 'aliased', alias } end
end
redis.call('ZREM', published, version)
local newest = redis.call('ZREVRANGE', published, 0, 0)[1]
if not newest then
  redis.call('HDEL', model, 'alias:latest')
  redis.call('ZREM', tag .. 'names', args.name)
elseif redis.call('HGET', model, 'alias:latest') == version then
  redis.call('HSET', model, 'alias:latest', newest)
end
local job_id = redis.call('HGET', version_key(args.name, version), 'job')
if job_id and redis.call('GET', tag .. 'job:' .. job_id) == args.name .. '@' .. version then
  redis.call('DEL', tag .. 'job:' .. job_id)
end
redis.call('DEL', version_key(args.name, version))
return { 'deleted' }
