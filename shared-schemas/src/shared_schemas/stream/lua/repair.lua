-- Find jobs that ought to be moving and are not, and set them going.
-- ARGS     lanes, cursor (an id or ""), limit; queued, running: state names
-- RETURNS  {repaired, next cursor or ""}
-- WHY      a trimmed stream, a destroyed group or a deleted consumer must lose no job: the hash is the truth
local repaired, next_cursor = 0, ''

-- An entry is live if it is still to be delivered, or was and is in the pending list.
local delivered = {}
for _, lane in ipairs(args.lanes) do
  local groups = redis.pcall('XINFO', 'GROUPS', key('ready', lane))
  for _, group in ipairs(groups.err and {} or groups) do
    local fact = {}
    for i = 1, #group, 2 do fact[group[i]] = group[i + 1] end
    if fact.name == GROUP then delivered[lane] = fact['last-delivered-id'] end
  end
end

local function is_live(job)
  local lane, entry = job.record[@LANE], job.record[@ENTRY]
  local found = redis.call('XRANGE', key('ready', lane), entry, entry)
  -- A stream that was deleted gives the same ids again, to other jobs.
  if #found == 0 or found[1][2][2] ~= job.id then return false end
  local last_delivered = delivered[lane]
  if not last_delivered or is_before(last_delivered, entry) then return true end
  return #redis.call('XPENDING', key('ready', lane), GROUP, entry, entry, 1) > 0
end

local function mend_queued(job)
  if job.record[@ENTRY] and is_live(job) then return end
  make_ready(job)
  repaired = repaired + 1
end

-- A lease that ends later than one from now can is of a time before the clock was set back.
local function mend_running(job)
  local ends = redis.call('ZSCORE', tag .. 'leases', job.id)
  local lease = job.record[@LEASE]
  local longest = lease and now + lease
  if ends and not (longest and tonumber(ends) > longest) then return end
  add('leases', ms(ends and longest or now), job.id)
  repaired = repaired + 1
end

local function page(state, lane)
  local from = args.cursor == '' and '-' or '(' .. args.cursor
  local ids = redis.call('ZRANGEBYLEX', tag .. listing(state, lane), from, '+', 'LIMIT', 0, args.limit)
  if #ids == args.limit and (next_cursor == '' or ids[#ids] < next_cursor) then next_cursor = ids[#ids] end
  return ids
end

-- A listed job whose hash was deleted is forgotten: nothing could ever move it.
local function look(state, lane, mend)
  for _, id in ipairs(page(state, lane)) do
    local job = load(id)
    if not job then
      remove(listing(state, lane), id)
    elseif job.record[@STATE] == state then
      mend(job)
    end
  end
end

for _, lane in ipairs(args.lanes) do
  look(args.queued, lane, mend_queued)
  look(args.running, lane, mend_running)
end
return commit({ repaired, next_cursor })
