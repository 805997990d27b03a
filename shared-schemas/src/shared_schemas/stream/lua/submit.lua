-- Store jobs and make each ready, or scheduled, once.
-- ARGS     items: {{id, spec (JSON), lane, subject, tags and depends_on (joined by spaces), run_at (ms),
--          deadline_after_ms, ttl_ms, idem, fingerprint, replay_of, retry_of}, …}
--          version; queued, scheduled: transitions; idem_ttl_ms
-- RETURNS  for each item
--          {"created", id} | {"exists", id}: the same call again, or the same Idempotency-Key and body
--          {"conflict", id}: the key was used with another body
--          {"retried", id}: the job in retry_of was retried before, as id
-- WHY      the key, the job and its ready entry must appear together or not at all
local function submit(item)
  if item.idem then
    local known = redis.call('GET', key('idem', item.idem))
    if known then
      local id, fingerprint = string.match(known, '^(%S+) (%S+)$')
      return { fingerprint == item.fingerprint and 'exists' or 'conflict', id }
    end
  end
  if redis.call('EXISTS', key('job', item.id)) == 1 then return { 'exists', item.id } end
  if item.retry_of then
    local before = redis.call('HGET', key('job', item.retry_of), 'retried_as')
    if before then return { 'retried', before } end
  end

  local job = { id = item.id, bell = {}, n = 0, attempt = 0, lane = item.lane }
  redis.call('HSET', key('job', item.id), 'version', args.version, 'spec', item.spec, 'subject', item.subject,
    'tags', item.tags, 'home', item.lane, 'lane', item.lane, 'created', ms(now), 'ttl', ms(item.ttl_ms),
    'attempt', 0, 'failures', 0, 'crashes', 0, 'n', 0)
  for name in string.gmatch(item.tags, '%S+') do redis.call('ZADD', key('tagged', name), 0, item.id) end
  if item.idem then
    redis.call('SET', key('idem', item.idem), item.id .. ' ' .. item.fingerprint, 'PX', ms(args.idem_ttl_ms))
  end
  if item.replay_of then set(job, 'replay_of', item.replay_of) end
  if item.retry_of then
    set(job, 'retry_of', item.retry_of)
    if redis.call('EXISTS', key('job', item.retry_of)) == 1 then
      redis.call('HSET', key('job', item.retry_of), 'retried_as', item.id)
      unlist_dead(item.retry_of)
    end
  end
  if item.deadline_after_ms then
    local deadline = ms(now + item.deadline_after_ms)
    set(job, 'deadline', deadline)
    redis.call('ZADD', tag .. 'deadlines', deadline, item.id)
  end
  local due = item.run_at and item.run_at > now and item.run_at or nil
  local waiting = item.depends_on ~= ''
  if waiting then
    set(job, 'waiting', 1, 'depends_on', item.depends_on)
    redis.call('ZADD', tag .. 'waiting', 0, item.id)
  end
  if due or waiting then schedule(job, due, args.scheduled) else enqueue(job, item.lane, args.queued) end
  return { 'created', item.id }
end

local answers = {}
for i, item in ipairs(args.items) do answers[i] = submit(item) end
return answers
