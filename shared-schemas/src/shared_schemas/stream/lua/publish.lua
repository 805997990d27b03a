-- Make staged models visible whose job has succeeded, and drop those whose job ended otherwise.
-- ARGS     succeeded: job ids; failed: job ids
-- RETURNS  nothing
-- WHY      version, alias and index appear together, and once, whoever else publishes at the same time
for _, job_id in ipairs(args.succeeded) do publish(job_id) end
for _, job_id in ipairs(args.failed) do
  local name, version = unpack(redis.call('HMGET', tag .. 'staged:' .. job_id, 'name', 'version'))
  if name then redis.call('DEL', version_key(name, version)) end
  redis.call('DEL', tag .. 'staged:' .. job_id)
  redis.call('SREM', tag .. 'staging', job_id)
end
