-- Say how many jobs a queued job waits behind, and how fast the queue drains.
-- ARGS     id, lanes
-- RETURNS  {jobs served before it, or -1 if it does not wait for a worker, its lane, workers, the attempts that ended in
--          the measured time, that time (ms), for how many ms no attempt has ended although the queue is busy, or -1}
-- WHY      All of it is of one moment.
local job, parts = peek(args.id)
if not job or parts[@STATE] ~= @QUEUED or not parts[@ENTRY] then return { -1, '', 0, 0, 0, -1 } end

-- Ids sort by the time of submission. A job that became ready later than it was submitted is behind those that were
-- submitted in between. -> how many jobs of its lane are served before this one, if all others were ready at once
local function by_time()
  local name = tag .. listing(parts[@STATE], parts[@LANE])
  local late = tonumber(string.match(parts[@ENTRY], '^%d+')) - tonumber(parts[@CREATED])
  if late < 1000 then return safe_call('ZRANK', name, args.id) or 0 end
  local digits, time = '0123456789abcdefghjkmnpqrstvwxyz', 0
  for digit in string.gmatch(string.sub(args.id, -26, -17), '.') do
    time = time * 32 + (string.find(digits, digit, 1, true) or 1) - 1
  end
  time = time + late
  local at = ''
  for _ = 1, 10 do
    local digit = time % 32
    at = string.sub(digits, digit + 1, digit + 1) .. at
    time = (time - digit) / 32
  end
  return math.max(0, safe_call('ZLEXCOUNT', name, '-', '(' .. string.sub(args.id, 1, -27) .. at) - 1)
end

-- -> as by_time, but exactly; nil if more than @EXACT_PLACES entries were to be read
local function by_entry()
  local name = key('ready', parts[@LANE])
  local from = '-'
  local group = redis.pcall('XINFO', 'GROUPS', name)[1]
  for i = 1, group and #group or 0, 2 do
    if group[i] == 'last-delivered-id' then from = '(' .. group[i + 1] end
  end
  local entries = redis.pcall('XRANGE', name, from, '(' .. parts[@ENTRY], 'COUNT', @EXACT_PLACES + 1)
  if entries.err or #entries > @EXACT_PLACES then return nil end
  local ids = {}
  for i, entry in ipairs(entries) do ids[i] = entry[2][2] or '' end
  if #ids == 0 then return 0 end
  -- The entry of a job that was cancelled or paused stays until a worker reads it. A job that was resumed has a newer
  -- one, whose id is a text in its packed parts.
  local ahead, name_of_set = 0, tag .. listing(parts[@STATE], parts[@LANE])
  for i, score in ipairs(safe_call('ZMSCORE', name_of_set, unpack(ids))) do
    local packed = score and redis.pcall('HGET', key('job', ids[i]), 'job')
    local entry = entries[i][1]
    if type(packed) == 'string' and string.find(packed, string.char(0xa0 + #entry) .. entry, 1, true) then
      ahead = ahead + 1
    end
  end
  return ahead
end

local ahead = 0
for _, lane in ipairs(args.lanes) do
  if lane == parts[@LANE] then break end
  ahead = ahead + safe_call('ZCARD', tag .. listing(parts[@STATE], lane))
end
local ended, took, since = measure_pace()
return {
  ahead + (by_entry() or by_time()),
  parts[@LANE],
  safe_call('ZCOUNT', tag .. 'workers', ms(now), '+inf'),
  ended,
  took,
  since,
}
