-- Find jobs that ought to be moving and are not, and set them going.
-- ARGS     lanes, cursor (an id or ""), limit; queued, running, scheduled: state names
--          idle_ms: a consumer that was silent for so long, and is not registered, is of a worker that is dead
-- RETURNS  {repaired, next cursor or "", is_mending (0|1): there is more of the log to go through}
-- WHY      a trimmed stream, a destroyed group, a deleted consumer or a lost index must lose no job: the hash is the truth
local repaired, next_cursor = 0, ''

local function facts_of(reply)
  local fact = {}
  for i = 1, #reply, 2 do fact[reply[i]] = reply[i + 1] end
  return fact
end

-- Redis 7 reports no lag after a restart, because it does not store what a script has read. It reports none either where
-- the entry that was delivered last was deleted, because others might have been. We delete only delivered entries, so
-- exactly the entries behind that one have not been read.
local function mend_lag(lane, group)
  if group.lag ~= false then return end
  local name = key('ready', lane)
  local stream = facts_of(redis.call('XINFO', 'STREAM', name))
  local delivered_ids = redis.call('XRANGE', name, '-', group['last-delivered-id'], 'COUNT', 10001)
  if #delivered_ids > 10000 or not stream['entries-added'] then return end
  local read = stream['entries-added'] - stream.length + #delivered_ids
  redis.call('XSETID', name, stream['last-generated-id'], 'ENTRIESADDED', ms(stream['entries-added']), 'MAXDELETEDID', '0-1')
  redis.call('XGROUP', 'SETID', name, @GROUP, group['last-delivered-id'], 'ENTRIESREAD', ms(math.max(0, read)))
end

-- Never one for which something is pending: that is delivered again first.
local function forget_dead(lane, n_consumers)
  if n_consumers <= ask('ZCARD', tag .. 'workers') then return end
  local name = key('ready', lane)
  for _, reply in ipairs(redis.call('XINFO', 'CONSUMERS', name, @GROUP)) do
    local consumer = facts_of(reply)
    if consumer.pending == 0 and consumer.idle >= args.idle_ms and not ask('ZSCORE', tag .. 'workers', consumer.name) then
      redis.call('XGROUP', 'DELCONSUMER', name, @GROUP, consumer.name)
    end
  end
end

-- An entry is live if it is still to be delivered, or was and is in the pending list.
local delivered = {}
for _, lane in ipairs(args.lanes) do
  local groups = redis.pcall('XINFO', 'GROUPS', key('ready', lane))
  for _, group in ipairs(groups.err and {} or groups) do
    local fact = facts_of(group)
    if fact.name == @GROUP then
      delivered[lane] = fact['last-delivered-id']
      mend_lag(lane, fact)
      forget_dead(lane, fact.consumers)
    end
  end
end

local function is_live(job)
  local lane, entry = job.record[@LANE], job.record[@ENTRY]
  local found = redis.pcall('XRANGE', key('ready', lane), entry, entry)
  -- A stream that was deleted gives the same ids again, to other jobs.
  if found.err or #found == 0 or found[1][2][2] ~= job.id then return false end
  local last_delivered = delivered[lane]
  if not last_delivered or is_before(last_delivered, entry) then return true end
  local pending = redis.pcall('XPENDING', key('ready', lane), @GROUP, entry, entry, 1)
  return not pending.err and #pending > 0
end

local function mend_deadline(job)
  local r = job.record
  if r[@ATTEMPT] == 0 and r[@DEADLINE] and not ask('ZSCORE', tag .. 'deadlines', job.id) then
    add('deadlines', r[@DEADLINE], job.id)
    repaired = repaired + 1
  end
end

local function mend_queued(job)
  mend_deadline(job)
  if job.record[@ENTRY] and is_live(job) then return end
  make_ready(job)
  repaired = repaired + 1
end

-- A lease that ends later than one from now can is of a time before the clock was set back.
local function mend_running(job)
  local ends = ask('ZSCORE', tag .. 'leases', job.id)
  local lease = job.record[@LEASE]
  local longest = lease and now + lease
  if ends and not (longest and tonumber(ends) > longest) then return end
  add('leases', ms(ends and longest or now), job.id)
  repaired = repaired + 1
end

-- A job that waits for others need not be in `due`: promotion drops it from there when its time passes, and meet_dependencies
-- looks at its time again.
local function mend_scheduled(job)
  mend_deadline(job)
  local r = job.record
  local index, score = 'due', r[@DUE] or NOW
  if r[@WAITING] then index, score = 'waiting', '0' end
  if ask('ZSCORE', tag .. index, job.id) then return end
  add(index, score, job.id)
  repaired = repaired + 1
end

local function page(state, lane)
  local from = args.cursor == '' and '-' or '(' .. args.cursor
  local ids = ask('ZRANGEBYLEX', tag .. listing(state, lane), from, '+', 'LIMIT', 0, args.limit)
  if #ids == args.limit and (next_cursor == '' or ids[#ids] < next_cursor) then next_cursor = ids[#ids] end
  return ids
end

-- What is damaged is ended by reclaim, as a job whose lease is over; a newer version's is left alone.
local function let_end(id, packed)
  if packed and is_foreign(packed) or ask('ZSCORE', tag .. 'leases', id) then return end
  add('leases', NOW, id)
end

-- A listed job whose hash was deleted is forgotten: nothing could ever move it.
local function look(state, lane, mend)
  for _, id in ipairs(page(state, lane)) do
    local job, r = peek(id)
    if not job then
      if r or redis.call('EXISTS', key('job', id)) == 1 then let_end(id, r) else remove(listing(state, lane), id) end
    elseif r[@STATE] ~= state or r[@LANE] ~= lane then
      -- A script was cut short.
      remove(listing(state, lane), id)
      add(listing(r[@STATE], r[@LANE]), '0', id)
    else
      mend(job)
    end
  end
end

-- Lists a job wherever it belongs.
local function list_anew(id)
  local job, r = peek(id)
  if not job then return end
  add(listing(r[@STATE], r[@LANE]), '0', id)
  for name in string.gmatch(r[@TAGS], '%S+') do add('tagged:' .. name, '0', id) end
  if r[@FINISHED] and not ask('ZSCORE', tag .. 'expiring', id) then add('expiring', ms(r[@FINISHED] + r[@TTL]), id) end
end

-- After an index was lost: the log names all jobs but those of long ago. -> whether there is more of it
local function mend_from_log()
  local from = ask('GET', tag .. 'mend')
  if not from then return 0 end
  local entries = redis.pcall('XRANGE', tag .. 'log', from == '-' and '-' or '(' .. from, '+', 'COUNT', 100)
  if entries.err or #entries == 0 then
    redis.call('DEL', tag .. 'mend')
    return 0
  end
  for _, entry in ipairs(entries) do
    for id in string.gmatch(entry[2][4] or '', '([^\n]+)\n[^\n]+') do list_anew(id) end
  end
  redis.call('SET', tag .. 'mend', entries[#entries][1])
  return 1
end

for _, lane in ipairs(args.lanes) do
  look(args.queued, lane, mend_queued)
  look(args.running, lane, mend_running)
  look(args.scheduled, lane, mend_scheduled)
end
local is_mending = mend_from_log()
return commit({ repaired, next_cursor, is_mending })
