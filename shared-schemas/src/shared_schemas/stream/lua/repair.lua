-- Find open jobs that nothing would move any more, and put them back where they belong.
-- ARGS     lanes, cursor (an id or ""), limit; queued, running, scheduled: names of states
--          idle_ms: a consumer that is not registered and was idle for so long belongs to a dead worker
-- RETURNS  {repaired, next cursor or "", is_mending (0|1): more of the log is to be read}
-- WHY      No job is lost with a stream that was trimmed, a group or consumer that was deleted, or an index that was
--          lost: the stored job is the truth.
local repaired, next_cursor = 0, ''

local function facts_of(reply)
  local fact = {}
  for i = 1, #reply, 2 do fact[reply[i]] = reply[i + 1] end
  return fact
end

-- Restores the lag of a group. Redis 7 does not know it after a restart, because it does not store what a script has
-- read, nor after the entry that was delivered last is deleted, because others might be deleted too. Headrace deletes
-- only delivered entries, so exactly the entries behind the last delivered one have not been read.
local function repair_lag(lane, group)
  if group.lag ~= false then return end
  local name = key('ready', lane)
  local stream = facts_of(redis.call('XINFO', 'STREAM', name))
  local delivered_ids = redis.call('XRANGE', name, '-', group['last-delivered-id'], 'COUNT', 10001)
  if #delivered_ids > 10000 or not stream['entries-added'] then return end
  local read = stream['entries-added'] - stream.length + #delivered_ids
  redis.call('XSETID', name, stream['last-generated-id'], 'ENTRIESADDED', ms(stream['entries-added']),
    'MAXDELETEDID', '0-1')
  redis.call('XGROUP', 'SETID', name, @GROUP, group['last-delivered-id'], 'ENTRIESREAD', ms(math.max(0, read)))
end

-- Deletes consumers of dead workers, except those with pending entries: these are redelivered first.
local function delete_dead_consumers(lane, n_consumers)
  if n_consumers <= safe_call('ZCARD', tag .. 'workers') then return end
  local name = key('ready', lane)
  for _, reply in ipairs(redis.call('XINFO', 'CONSUMERS', name, @GROUP)) do
    local consumer = facts_of(reply)
    if consumer.pending == 0 and consumer.idle >= args.idle_ms
      and not safe_call('ZSCORE', tag .. 'workers', consumer.name) then
      redis.call('XGROUP', 'DELCONSUMER', name, @GROUP, consumer.name)
    end
  end
end

-- By lane, the last id that was delivered. An entry is live if it is not delivered yet, or is in the pending list.
local delivered = {}
for _, lane in ipairs(args.lanes) do
  local groups = redis.pcall('XINFO', 'GROUPS', key('ready', lane))
  for _, group in ipairs(groups.err and {} or groups) do
    local fact = facts_of(group)
    if fact.name == @GROUP then
      delivered[lane] = fact['last-delivered-id']
      repair_lag(lane, fact)
      delete_dead_consumers(lane, fact.consumers)
    end
  end
end

local function is_live(job)
  local lane, entry = job.parts[@LANE], job.parts[@ENTRY]
  local found = redis.pcall('XRANGE', key('ready', lane), entry, entry)
  -- A stream that was deleted and created again may give the same id to another job.
  if found.err or #found == 0 or found[1][2][2] ~= job.id then return false end
  local last_delivered = delivered[lane]
  if not last_delivered or is_before(last_delivered, entry) then return true end
  local pending = redis.pcall('XPENDING', key('ready', lane), @GROUP, entry, entry, 1)
  return not pending.err and #pending > 0
end

local function repair_deadline(job)
  local parts = job.parts
  if parts[@ATTEMPT] == 0 and parts[@DEADLINE] and not safe_call('ZSCORE', tag .. 'deadlines', job.id) then
    add('deadlines', parts[@DEADLINE], job.id)
    repaired = repaired + 1
  end
end

local function repair_queued(job)
  repair_deadline(job)
  if job.parts[@ENTRY] and is_live(job) then return end
  make_ready(job)
  repaired = repaired + 1
end

-- A lease that ends later than any lease that begins now was written before the clock was set back.
local function repair_running(job)
  local ends = safe_call('ZSCORE', tag .. 'leases', job.id)
  local lease = job.parts[@LEASE]
  local longest = lease and now + lease
  if ends and not (longest and tonumber(ends) > longest) then return end
  add('leases', ms(ends and longest or now), job.id)
  repaired = repaired + 1
end

-- A job that waits for others need not be in `due`: promote_due takes it out when its time has come, and
-- meet_dependencies checks the time again.
local function repair_scheduled(job)
  repair_deadline(job)
  local parts = job.parts
  local index, score = 'due', parts[@DUE] or NOW
  if parts[@WAITING] then index, score = 'waiting', '0' end
  if safe_call('ZSCORE', tag .. index, job.id) then return end
  add(index, score, job.id)
  repaired = repaired + 1
end

local function page(state, lane)
  local from = args.cursor == '' and '-' or '(' .. args.cursor
  local ids = safe_call('ZRANGEBYLEX', tag .. listing(state, lane), from, '+', 'LIMIT', 0, args.limit)
  if #ids == args.limit and (next_cursor == '' or ids[#ids] < next_cursor) then next_cursor = ids[#ids] end
  return ids
end

-- Gives a damaged job a lease that is over, so that reclaim fails it. Leaves a job of a newer version alone.
local function expire_lease(id, packed)
  if packed and is_newer(packed) or safe_call('ZSCORE', tag .. 'leases', id) then return end
  add('leases', NOW, id)
end

-- Checks one page of a listing. A job whose hash was deleted is taken off: nothing can move it.
local function look(state, lane, repair_job)
  for _, id in ipairs(page(state, lane)) do
    local job, parts = peek(id)
    if not job then
      if parts or redis.call('EXISTS', key('job', id)) == 1 then
        expire_lease(id, parts)
      else
        remove(listing(state, lane), id)
      end
    elseif parts[@STATE] ~= state or parts[@LANE] ~= lane then
      -- A script was stopped halfway.
      remove(listing(state, lane), id)
      add(listing(parts[@STATE], parts[@LANE]), '0', id)
    else
      repair_job(job)
    end
  end
end

-- Puts a job into each index that it belongs in.
local function list_job(id)
  local job, parts = peek(id)
  if not job then return end
  add(listing(parts[@STATE], parts[@LANE]), '0', id)
  for name in string.gmatch(parts[@TAGS], '%S+') do add('tagged:' .. name, '0', id) end
  if parts[@FINISHED] and not safe_call('ZSCORE', tag .. 'expiring', id) then
    add('expiring', ms(parts[@FINISHED] + parts[@TTL]), id)
  end
end

-- After an index was lost, reads the jobs in the log, which lacks only old ones. -> 1 if more of the log is to be read
local function list_from_log()
  local from = safe_call('GET', tag .. 'mend')
  if not from then return 0 end
  local entries = redis.pcall('XRANGE', tag .. 'log', from == '-' and '-' or '(' .. from, '+', 'COUNT', 100)
  if entries.err or #entries == 0 then
    redis.call('DEL', tag .. 'mend')
    return 0
  end
  for _, entry in ipairs(entries) do
    for id in string.gmatch(entry[2][4] or '', '([^\n]+)\n[^\n]+') do list_job(id) end
  end
  redis.call('SET', tag .. 'mend', entries[#entries][1])
  return 1
end

for _, lane in ipairs(args.lanes) do
  look(args.queued, lane, repair_queued)
  look(args.running, lane, repair_running)
  look(args.scheduled, lane, repair_scheduled)
end
local is_mending = list_from_log()
return commit({ repaired, next_cursor, is_mending })
