-- Make jobs ready again whose entry was delivered long ago and whose attempt never began.
-- ARGS     worker: the consumer that takes these entries over; idle_ms: since their delivery; limit: of entries in a
--          lane lanes; cursors: for each lane, where the last call stopped; running, queued: names of states
-- RETURNS  {how many were made ready again, longest (ms), the next cursor of each lane, …}
--          longest: the longest time since a delivery, of entries with at least half of idle_ms; -1 if there is none. A
--          renewal resets that time long before, so such an entry was probably never begun. It is due when idle_ms is
--          over
-- WHY      Only the stored job shows whether an entry is still its own.
local answer = { 0, -1 }

local function look(lane, entry, id)
  local job, parts
  if id then job, parts = load(id) end
  if not job and parts then return end
  if not job or parts[@ENTRY] ~= entry then
    acknowledge(lane, entry)
  elseif parts[@STATE] == args.queued then
    hand_back(job)
    answer[1] = answer[1] + 1
  elseif parts[@STATE] ~= args.running then
    acknowledge(lane, entry)
  end
end

-- Acknowledges pending entries that were deleted. XAUTOCLAIM of Redis 6.2 returns these without their ids.
local function retire_deleted(lane)
  for _, pending in ipairs(safe_call('XPENDING', key('ready', lane), @GROUP, '-', '+', 1000)) do
    if #redis.call('XRANGE', key('ready', lane), pending[1], pending[1]) == 0 then acknowledge(lane, pending[1]) end
  end
end

local function note_longest(lane)
  local idle = ms(math.floor(args.idle_ms / 2))
  for _, pending in ipairs(safe_call('XPENDING', key('ready', lane), @GROUP, 'IDLE', idle, '-', '+', 100)) do
    answer[2] = math.max(answer[2], pending[3])
  end
end

for i, lane in ipairs(args.lanes) do
  local reply = redis.pcall('XAUTOCLAIM', key('ready', lane), @GROUP, args.worker, args.idle_ms, args.cursors[i],
    'COUNT', args.limit)
  answer[i + 2] = '0-0'
  if not reply.err then
    answer[i + 2] = reply[1]
    local has_deleted = false
    for _, entry in ipairs(reply[2]) do
      if entry then look(lane, entry[1], entry[2] and entry[2][2]) else has_deleted = true end
    end
    if has_deleted then retire_deleted(lane) end
    if reply[1] == '0-0' then note_longest(lane) end
  elseif string.find(reply.err, 'WRONGTYPE', 1, true) then
    safe_call('XLEN', key('ready', lane))
  elseif not string.find(reply.err, 'NOGROUP', 1, true) then
    return reply
  end
end
return commit(answer)
