-- Store jobs, each once, and make each ready or scheduled.
-- ARGS     items: {{id, spec (JSON), place in traits, more or nil}, …}
--          traits: {{lane, subject, tags and depends_on (joined by spaces), ttl_ms}, …}, often shared by jobs
--          more: {run_at (ms), deadline_after_ms, idem, is_claimed, fingerprint, replay_of, retry_of}, with those
--          that apply
--          idem: SHA-256 of the Idempotency-Key; is_claimed: claim_keys assigned the key to this id, perhaps long ago
--          limit: at most so many jobs may wait for a worker, or nil
--          is_list: the other jobs are created only if the first one is; else the answer for the first stands for all
--          version; queued: transition; idem_ttl_ms
--          followed: places of items whose submitter has asked for the channel of the job, or nil
-- RARE     scheduled: transition
-- RETURNS  for each item that was not created one of
--          {its place, "exists", id}: the same call again, or the same Idempotency-Key and body
--          {its place, "conflict", id}: the key was used with another body
--          {its place, "retried", id}: the job in retry_of was retried before, as id
--          {its place, "full", "<jobs that wait> <attempts that ended in the measured time> <that time, ms>"}: the job
--          would wait for a worker, and the limit is reached; the first of a list: there is no room for all of them
--          then for each followed item that was created and whose channel has a subscriber
--          {its place, "followed", its first event as a notification}; each later event is notified
-- WHY      The Idempotency-Key, the job and its entry appear together or not at all.
local names = {}
for i, item in ipairs(args.items) do names[i] = key('job', item[1]) end

-- Nearly always none of the jobs is stored already, and one EXISTS for all of them costs as much as for one.
local is_any_stored = false
for first = 1, #names, 1000 do
  if redis.call('EXISTS', unpack(names, first, math.min(first + 999, #names))) > 0 then is_any_stored = true end
end

local NOTHING = {}

-- How many more jobs may wait for a worker.
local room, why_full = math.huge, nil
if args.limit then
  room = args.limit
  for _, lane in ipairs(@LANE_NAMES) do room = room - safe_call('ZCARD', tag .. listing(args.queued.state, lane)) end
end

-- A job for a later time, or behind others, waits for no worker yet. It is not counted, and not refused.
local function is_for_now(traits, more) return traits[4] == '' and not (more.run_at and more.run_at > now) end

-- Whether the jobs from this place on that would be queued now have no room.
local function is_full(place)
  local last, needed = args.is_list and #args.items or place, 0
  for i = place, last do
    if is_for_now(args.traits[args.items[i][3]], args.items[i][4] or NOTHING) then needed = needed + 1 end
  end
  if needed <= room or needed == 0 then return false end
  if not why_full then
    local ended, took = measure_pace()
    local workers = safe_call('ZCOUNT', tag .. 'workers', NOW, '+inf')
    why_full = ms(args.limit - room) .. ' ' .. ms(ended) .. ' ' .. ms(took) .. ' ' .. ms(workers)
  end
  return true
end

local function submit(place, name, id, spec, traits, more)
  more = more or NOTHING
  local lane, tags, depends_on = traits[1], traits[3], traits[4]
  local meant = more.fingerprint or '-'
  if more.idem then
    local known = redis.pcall('GET', key('idem', more.idem))
    -- A value that no script wrote counts as none.
    local former, fingerprint = string.match(type(known) == 'string' and known or '', '^([%l%d.-]+) (%S+)$')
    if former then return fingerprint == meant and 'exists' or 'conflict', former end
  end
  if loaded[id] or is_any_stored and redis.call('EXISTS', name) == 1 then return 'exists', id end
  -- A job that has expired or was deleted is not stored again.
  if more.is_claimed and redis.call('EXISTS', key('gone', id), key('deleted', id)) > 0 then return 'exists', id end
  local origin = more.retry_of and peek(more.retry_of)
  if origin and origin.parts[@RETRIED_AS] then return 'retried', origin.parts[@RETRIED_AS] end
  if args.limit and not (args.is_list and place > 1) and is_full(place) then return 'full', why_full end

  local parts = { false, lane, lane, args.version, NOW, traits[5], 0, 0, 0, 0, traits[2], tags, false, 0, 0 }
  local job = track(id, name, parts)
  set_field(job, 'spec', spec)
  if tags ~= '' then
    if not traits.sets then
      traits.sets = {}
      for tag_name in string.gmatch(tags, '%S+') do traits.sets[#traits.sets + 1] = 'tagged:' .. tag_name end
    end
    for _, set_name in ipairs(traits.sets) do add(set_name, '0', id) end
  end
  if more.replay_of then set(job, @REPLAY_OF, more.replay_of) end
  if more.retry_of then set(job, @RETRY_OF, more.retry_of) end
  if more.is_claimed then set_field(job, 'claimed', '1') end
  if more.idem then
    redis.call('SET', key('idem', more.idem), id .. ' ' .. meant, 'PX', ms(args.idem_ttl_ms))
  end
  if origin then
    set(origin, @RETRIED_AS, id)
    unlist_dead(more.retry_of)
  end
  if more.deadline_after_ms then
    set(job, @DEADLINE, ms(now + more.deadline_after_ms))
    add('deadlines', parts[@DEADLINE], id)
  end
  if depends_on ~= '' then
    set(job, @WAITING, 1)
    set_field(job, 'depends_on', depends_on)
    add('waiting', '0', id)
  end
  local due = more.run_at and more.run_at > now and more.run_at or nil
  if due or parts[@WAITING] then schedule(job, due, rare('scheduled')) else
    room = room - 1
    enqueue(job, lane, args.queued)
  end
end

-- firsts: by the name of the job's channel, which is that of its hash, its place and its first event.
local answers, firsts, asked = {}, {}, {}
for i, item in ipairs(args.items) do
  local answer, known = submit(i, names[i], item[1], item[2], args.traits[item[3]], item[4])
  if answer then
    answers[#answers + 1] = { i, answer, known }
  elseif args.followed then
    firsts[names[i]] = { i, 'followed', '1 ' .. new_changes[#new_changes] }
  end
  if args.is_list and i == 1 and answer then break end
end
for _, place in ipairs(args.followed or NOTHING) do
  if firsts[names[place]] then asked[#asked + 1] = names[place] end
end
for first = 1, #asked, 1000 do
  local counts = redis.call('PUBSUB', 'NUMSUB', unpack(asked, first, math.min(first + 999, #asked)))
  for i = 1, #counts, 2 do
    if counts[i + 1] > 0 then answers[#answers + 1] = firsts[counts[i]] end
  end
end
return commit(answers)
