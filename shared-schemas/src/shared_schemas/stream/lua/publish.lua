-- Publish the staged models of jobs that have succeeded, and delete those of jobs that ended otherwise.
-- ARGS     succeeded: job ids; failed: job ids
-- RETURNS  nothing
-- WHY      The version, its alias and its entry in the index appear together, and once even if several processes
--          publish.
for _, job_id in ipairs(args.succeeded) do publish(job_id) end
for _, job_id in ipairs(args.failed) do
  local name, version = unpack(redis.call('HMGET', tag .. 'staged:' .. job_id, 'name', 'version'))
  if name then redis.call('DEL', version_key(name, version)) end
  redis.call('DEL', tag .. 'staged:' .. job_id)
  redis.call('SREM', tag .. 'staging', job_id)
end
