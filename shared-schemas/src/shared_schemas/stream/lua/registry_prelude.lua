-- In place of prelude.lua, for the scripts of the model registry and of the list of queues.
-- KEYS[1] -> "{hr:models}:" or "{hr}:". ARGV[1] -> the arguments, one MessagePack map.
local tag = KEYS[1]
local args = cmsgpack.unpack(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local function ms(number) return string.format('%.0f', number) end
local function model_key(name) return tag .. 'model:' .. name end
local function version_key(name, version) return tag .. 'version:' .. name .. '@' .. version end

local function publish(job_id)
  local name, version = unpack(redis.call('HMGET', tag .. 'staged:' .. job_id, 'name', 'version'))
  if not name then return end
  redis.call('HSET', version_key(name, version), 'published', ms(now))
  redis.call('ZADD', tag .. 'names', 0, name)
  local latest = tonumber(redis.call('HGET', model_key(name), 'alias:latest') or 0) or 0
  if tonumber(version) > latest then redis.call('HSET', model_key(name), 'alias:latest', version) end
  redis.call('ZADD', tag .. 'published:' .. name, version, version)
  redis.call('SET', tag .. 'job:' .. job_id, name .. '@' .. version)
  redis.call('SREM', tag .. 'staging', job_id)
  redis.call('DEL', tag .. 'staged:' .. job_id)
end
