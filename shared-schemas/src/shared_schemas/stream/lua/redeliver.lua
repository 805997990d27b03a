-- Deal with entries that were delivered long ago and whose job nobody began.
-- ARGS     worker (it claims them), idle_ms (since they were delivered), limit (for each lane)
--          lanes; cursors: for each where the last call stopped; running, queued: state names
-- RETURNS  {how many were made ready again, longest (ms), the next cursor of each lane …}
--          longest: for how long an entry has been delivered, of those that were half of idle_ms ago or more; -1 if there is none.
--          What a live worker runs is renewed long before that, so it becomes due in the rest of idle_ms
-- WHY      only the job's hash says whether an entry still stands for it
local answer = { 0, -1 }

local function look(lane, entry, id)
  local job, r
  if id then job, r = load(id) end
  if not job and r then return end
  if not job or r[@ENTRY] ~= entry then
    retire(lane, entry)
  elseif r[@STATE] == args.queued then
    hand_back(job)
    answer[1] = answer[1] + 1
  elseif r[@STATE] ~= args.running then
    retire(lane, entry)
  end
end

-- Pending entries that were deleted, which XAUTOCLAIM of Redis 6.2 returns without their ids.
local function retire_deleted(lane)
  for _, pending in ipairs(ask('XPENDING', key('ready', lane), @GROUP, '-', '+', 1000)) do
    if #redis.call('XRANGE', key('ready', lane), pending[1], pending[1]) == 0 then retire(lane, pending[1]) end
  end
end

local function note_longest(lane)
  local idle = ms(math.floor(args.idle_ms / 2))
  for _, pending in ipairs(ask('XPENDING', key('ready', lane), @GROUP, 'IDLE', idle, '-', '+', 100)) do
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
    ask('XLEN', key('ready', lane))
  elseif not string.find(reply.err, 'NOGROUP', 1, true) then
    return reply
  end
end
return commit(answer)
