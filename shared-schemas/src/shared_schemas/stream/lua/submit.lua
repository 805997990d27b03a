-- Store a job and make it ready, or scheduled, once.
-- ARGS     id, spec (JSON), lane, subject, tags and depends_on (joined by spaces), version
--          queued, scheduled: transitions; run_at (ms)
--          deadline_after_ms, ttl_ms; idem, fingerprint, idem_ttl_ms; replay_of, retry_of
-- RETURNS  {"created", id} | {"exists", id}: the same call again, or the same Idempotency-Key and body
--          {"conflict", id}: the key was used with another body
--          {"retried", id}: the job in retry_of was retried before, as id
-- WHY      the key, the job and its ready entry must appear together or not at all
local function submit()
  if args.idem then
    local known = redis.call('GET', key('idem', args.idem))
    if known then
      local id, fingerprint = string.match(known, '^(%S+) (%S+)$')
      return { fingerprint == args.fingerprint and 'exists' or 'conflict', id }
    end
  end
  if redis.call('EXISTS', key('job', args.id)) == 1 then return { 'exists', args.id } end
  if args.retry_of then
    local before = redis.call('HGET', key('job', args.retry_of), 'retried_as')
    if before then return { 'retried', before } end
  end

  local job = { id = args.id, bell = {}, n = 0, attempt = 0, lane = args.lane }
  redis.call('HSET', key('job', args.id), 'version', args.version, 'spec', args.spec, 'subject', args.subject,
    'tags', args.tags, 'home', args.lane, 'lane', args.lane, 'created', ms(now), 'ttl', ms(args.ttl_ms),
    'attempt', 0, 'failures', 0, 'crashes', 0, 'n', 0)
  for name in string.gmatch(args.tags, '%S+') do redis.call('ZADD', key('tagged', name), 0, args.id) end
  if args.idem then
    redis.call('SET', key('idem', args.idem), args.id .. ' ' .. args.fingerprint, 'PX', ms(args.idem_ttl_ms))
  end
  if args.replay_of then set(job, 'replay_of', args.replay_of) end
  if args.retry_of then
    set(job, 'retry_of', args.retry_of)
    if redis.call('EXISTS', key('job', args.retry_of)) == 1 then
      redis.call('HSET', key('job', args.retry_of), 'retried_as', args.id)
      redis.call('ZREM', tag .. 'dead', args.retry_of)
    end
  end
  if args.deadline_after_ms then
    local deadline = ms(now + args.deadline_after_ms)
    set(job, 'deadline', deadline)
    redis.call('ZADD', tag .. 'deadlines', deadline, args.id)
  end
  local due = args.run_at and args.run_at > now and args.run_at or nil
  local waiting = args.depends_on ~= ''
  if waiting then
    set(job, 'waiting', 1, 'depends_on', args.depends_on)
    redis.call('ZADD', tag .. 'waiting', 0, args.id)
  end
  if due or waiting then schedule(job, due, args.scheduled) else enqueue(job, args.lane, args.queued) end
  return { 'created', args.id }
end
return submit()
