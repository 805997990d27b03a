-- Find the job whose result answers a question, in the cache of results.
-- ARGS     digest: of the question; sources: {state = true}, the states of a job that has a result
-- RETURNS  {id of the job, its result, the digest of its result, its facts or ""}, or false if there is none
-- WHY      The cache keeps no result, only which job has it. A job that was deleted, or has expired, answers nothing.
local id = redis.pcall('GET', key('cached', args.digest))
if type(id) ~= 'string' then return false end
local job, parts = peek(id, 'result', 'digest', 'facts')
if not job or not args.sources[parts[@STATE]] then return false end
local result, digest, facts = job.values[2], job.values[3], job.values[4]
if not result or not digest then return false end
return { id, result, digest, facts or '' }
