-- Store jobs and make each ready, or scheduled, once.
-- ARGS     items: {{id, spec (JSON), lane, subject, tags and depends_on (joined by spaces), run_at (ms),
--          deadline_after_ms, ttl_ms, idem, fingerprint, replay_of, retry_of, with_former}, …}; with_former: only if the
--          item before it was created; else its answer stands for this one too
--          version; queued, scheduled: transitions; idem_ttl_ms
-- RETURNS  for each item
--          {"created", id} | {"exists", id}: the same call again, or the same Idempotency-Key and body
--          {"conflict", id}: the key was used with another body
--          {"retried", id}: the job in retry_of was retried before, as id
-- WHY      the key, the job and its ready entry must appear together or not at all
-- Nearly always none is, and one question for all costs as much as one of them.
local function is_any_stored()
  for first = 1, #args.items, 1000 do
    local names = {}
    for i = first, math.min(first + 999, #args.items) do names[#names + 1] = key('job', args.items[i].id) end
    if redis.call('EXISTS', unpack(names)) > 0 then return true end
  end
  return false
end

local is_any = is_any_stored()

local function is_stored(id) return loaded[id] or is_any and redis.call('EXISTS', key('job', id)) == 1 end

local function submit(item)
  if item.idem then
    local known = redis.call('GET', key('idem', item.idem))
    if known then
      local id, fingerprint = string.match(known, '^(%S+) (%S+)$')
      return { fingerprint == item.fingerprint and 'exists' or 'conflict', id }
    end
  end
  if is_stored(item.id) then return { 'exists', item.id } end
  local origin = item.retry_of and load(item.retry_of)
  if origin and origin.record[RETRIED_AS] then return { 'retried', origin.record[RETRIED_AS] } end

  local record = { false, item.lane, item.lane, args.version, NOW, item.ttl_ms, 0, 0, 0, 0, item.subject, item.tags, false, 0, 0 }
  local job = keep(item.id, record)
  set_field(job, 'spec', item.spec)
  if item.tags ~= '' then
    for name in string.gmatch(item.tags, '%S+') do add('tagged:' .. name, '0', item.id) end
  end
  if item.replay_of then set(job, REPLAY_OF, item.replay_of) end
  if item.retry_of then set(job, RETRY_OF, item.retry_of) end
  if item.idem then
    redis.call('SET', key('idem', item.idem), item.id .. ' ' .. item.fingerprint, 'PX', ms(args.idem_ttl_ms))
  end
  if origin then
    set(origin, RETRIED_AS, item.id)
    unlist_dead(item.retry_of)
  end
  if item.deadline_after_ms then
    set(job, DEADLINE, ms(now + item.deadline_after_ms))
    add('deadlines', record[DEADLINE], item.id)
  end
  if item.depends_on ~= '' then
    set(job, WAITING, 1)
    set_field(job, 'depends_on', item.depends_on)
    add('waiting', '0', item.id)
  end
  local due = item.run_at and item.run_at > now and item.run_at or nil
  if due or record[WAITING] then schedule(job, due, args.scheduled) else enqueue(job, item.lane, args.queued) end
  -- Nobody can follow a job that is not stored, and whoever follows one reads first.
  job.bell = false
  return { 'created', item.id }
end

local answers = {}
for i, item in ipairs(args.items) do
  local former = item.with_former and answers[i - 1]
  answers[i] = former and former[1] ~= 'created' and former or submit(item)
end
return commit(answers)
