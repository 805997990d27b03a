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
  local found = redis.call('XRANGE', key('ready', job.lane), job.entry, job.entry)
  -- A stream that was deleted gives the same ids again, to other jobs.
  if #found == 0 or found[1][2][2] ~= job.id then return false end
  local last_delivered = delivered[job.lane]
  if not last_delivered or is_before(last_delivered, job.entry) then return true end
  return #redis.call('XPENDING', key('ready', job.lane), GROUP, job.entry, job.entry, 1) > 0
end

local function mend(id, lane)
  local job = load(id)
  if not job then
    redis.call('ZREM', tag .. 'listing:' .. args.queued .. ':' .. lane, id)
  elseif job.state == args.queued and not (job.entry and is_live(job)) then
    set(job, 'entry', redis.call('XADD', key('ready', job.lane), '*', 'job', id))
    repaired = repaired + 1
  end
end

-- A lease that ends later than one from now can is of a time before the clock was set back.
local function mend_lease(id)
  local job, ends = load(id), redis.call('ZSCORE', tag .. 'leases', id)
  local longest = job and job.lease and now + tonumber(job.lease)
  if ends and not (longest and tonumber(ends) > longest) then return end
  redis.call('ZADD', tag .. 'leases', ms(ends and longest or now), id)
  repaired = repaired + 1
end

local function page(state, lane)
  local from = args.cursor == '' and '-' or '(' .. args.cursor
  local ids = redis.call('ZRANGEBYLEX', tag .. 'listing:' .. state .. ':' .. lane, from, '+', 'LIMIT', 0, args.limit)
  if #ids == args.limit and (next_cursor == '' or ids[#ids] < next_cursor) then next_cursor = ids[#ids] end
  return ids
end

for _, lane in ipairs(args.lanes) do
  for _, id in ipairs(page(args.queued, lane)) do mend(id, lane) end
  for _, id in ipairs(page(args.running, lane)) do mend_lease(id) end
end
return { repaired, next_cursor }
