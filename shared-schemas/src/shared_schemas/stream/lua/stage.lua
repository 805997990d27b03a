-- Store a manifest under the next version of a name, without publishing it.
-- ARGS     job_id, attempt, fence, name, manifest (JSON)
-- RETURNS  version | -1: a newer attempt of the same job has staged a model, or the job's model is published
-- WHY      A job has one version, even if several attempts stage it. An older attempt must not overwrite a newer one.
local staged = tag .. 'staged:' .. args.job_id
if redis.call('EXISTS', tag .. 'job:' .. args.job_id) == 1 then return -1 end
local name, version, attempt = unpack(redis.call('HMGET', staged, 'name', 'version', 'attempt'))
if attempt and tonumber(attempt) > args.attempt then return -1 end
if not version or name ~= args.name then version = redis.call('HINCRBY', model_key(args.name), 'versions', 1) end
redis.call('HSET', version_key(args.name, version), 'manifest', args.manifest, 'job', args.job_id)
redis.call('HSET', staged, 'name', args.name, 'version', version, 'attempt', args.attempt, 'fence', args.fence)
redis.call('SADD', tag .. 'staging', args.job_id)
return tonumber(version)
