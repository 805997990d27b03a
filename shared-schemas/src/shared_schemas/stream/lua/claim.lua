-- Begin attempts for the entries a worker was handed, and for more entries while it has free slots.
-- ARGS     worker, is_busy (it runs something now), held ({id = fence} of what that is; left out of most calls), lanes (in the order to serve), slots (free), capacity (all)
--          lease_ms, version (of the specs it reads)
--          token (random, new for each call)
--          entries: {{lane, entry, id}, …} handed out by a blocking read or found among the worker's own
--          handed: {{lane, entry}, …} of a claim that was sent behind a blocking read of these lanes and begins no more than that
--          was handed: what there is, among the worker's own, behind these entries; left out of other claims
--          running: transition
-- SELDOM   expired: transition for a job whose start deadline has passed; released, cancelled, paused: transitions
-- RETURNS  {attempts, suspects_wait (0|1), is_unsure (0|1), now (ms)}; an attempt is {id, record, spec, checkpoint or false}, its record as packed as it is kept
--          A suspect is begun only by a worker that runs nothing, which begins nothing else until it has ended.
--          is_unsure: an entry stands for a running job of this worker, and only `held` could say whether it knows
-- WHY      reading and beginning in one step leaves no entry that was delivered and not begun
local begun, is_begun, lease_end, is_unsure = {}, {}, ms(now + args.lease_ms), 0

local function answer(job)
  is_begun[job.id] = true
  begun[#begun + 1] = { job.id, pack(job), job.values[2] or '', job.values[3] }
end

local function begin(lane, entry, id)
  if not id then return retire(lane, entry) end
  local job, r = load(id, 'spec', 'checkpoint')
  if not job then
    -- Of a newer version: it stays pending, for a newer worker to be handed it by redeliver.
    if not r then retire(lane, entry) end
    return
  end
  if r[@STATE] == args.running.state and r[@ENTRY] == entry then
    -- A group that was lost and made anew delivers again what this call was handed.
    if r[@WORKER] ~= args.worker or is_begun[id] then return end
    if not args.held then
      is_unsure = 1
      return
    end
    if args.held[id] == r[@FENCE] then return end
    -- The same worker asks again. It never saw this attempt if it neither renewed nor recorded: an answer was lost.
    if r[@BEAT] == 0 and r[@RECORDED] == 0 then return answer(job) end
    -- Else it has given the attempt up, as it must when it could not renew in time. Nobody else has noticed yet.
    retire(lane, entry)
    local pause = let_go(job)
    enqueue(job, @FRONT, seldom('released'))
    return heed_requests(job, pause)
  end
  if r[@ENTRY] ~= entry or not allows(args.running, r) then return retire(lane, entry) end
  if r[@ATTEMPT] == 0 and r[@DEADLINE] and now > tonumber(r[@DEADLINE]) then
    retire(lane, entry)
    return finish(job, seldom('expired'))
  end
  -- It stays pending, for a newer worker to be handed it by redeliver.
  if r[@VERSION] > args.version then return end
  if #begun >= args.slots or (r[@SUSPECT] and (#begun > 0 or args.is_busy)) then return hand_back(job) end
  if r[@SUSPECT] then args.slots = 1 end
  local attempt = r[@ATTEMPT] + 1
  r[@ATTEMPT], r[@RECORDED], r[@BEAT] = attempt, 0, 0
  -- All places from the first of these to the last, for the array to have no gap.
  r[@FENCE], r[@WORKER], r[@SETTLED], r[@LEASE] = text(attempt) .. '-' .. args.token, args.worker, r[@SETTLED] or false, args.lease_ms
  r[@STARTED] = NOW
  local runs_alone = r[@SUSPECT] or args.capacity == 1
  if runs_alone or r[@FINISHED] ~= nil then r[@FINISHED], r[@RAN_ALONE] = false, runs_alone and 1 or false end
  relist(job, args.running.state, r[@LANE])
  add('leases', lease_end, id)
  if r[@DEADLINE] then remove('deadlines', id) end
  announce(job, args.running.event, args.running.body)
  answer(job)
end

local function read(lane, count)
  local name = key('ready', lane)
  -- Most are empty, which costs less to ask than to be told by a read.
  if ask('XLEN', name) == 0 then return nil end
  local command = { 'XREADGROUP', 'GROUP', @GROUP, args.worker, 'COUNT', count, 'STREAMS', name, '>' }
  local reply = redis.pcall(unpack(command))
  if reply and reply.err then
    -- A lost group starts over at 0: what was delivered before is told apart by the job's hash.
    redis.call('XGROUP', 'CREATE', name, @GROUP, '0', 'MKSTREAM')
    reply = redis.call(unpack(command))
  end
  return reply and reply[1] and reply[1][2]
end

local function has_undelivered(lane)
  local newest = ask('XREVRANGE', key('ready', lane), '+', '-', 'COUNT', 1)[1]
  if not newest then return false end
  local group = redis.pcall('XINFO', 'GROUPS', key('ready', lane))[1]
  if not group then return true end
  for i = 1, #group, 2 do
    if group[i] == 'last-delivered-id' then return is_before(group[i + 1], newest[1]) end
  end
end

local function begin_handed()
  local command = { 'XREADGROUP', 'GROUP', @GROUP, args.worker, 'COUNT', 100, 'STREAMS' }
  local lanes, before = args.handed, #command
  for i, each in ipairs(lanes) do
    command[before + i], command[before + #lanes + i] = key('ready', each[1]), each[2]
  end
  local reply = redis.pcall(unpack(command))
  for i, stream in ipairs(reply.err and {} or reply) do
    for _, entry in ipairs(stream[2]) do begin(lanes[i][1], entry[1], entry[2] and entry[2][2]) end
  end
end

if args.handed then
  begin_handed()
  -- A worker that runs nothing waits for suspects as well.
  return commit({ begun, args.is_busy and has_undelivered(@ALONE) and 1 or 0, is_unsure, now })
end
for _, handed in ipairs(args.entries) do begin(handed[1], handed[2], handed[3]) end
while args.slots > 0 and has_undelivered(@ALONE) do
  -- With something in hand, claim nothing more: the worker will soon be free for the suspect.
  if #begun > 0 or args.is_busy then return commit({ begun, 1, is_unsure, now }) end
  for _, entry in ipairs(read(@ALONE, 1) or {}) do begin(@ALONE, entry[1], entry[2] and entry[2][2]) end
end
for _, lane in ipairs(args.lanes) do
  -- A stretch of tombstones must not end the search while there are slots.
  while #begun < args.slots do
    local entries = read(lane, args.slots - #begun)
    if not entries then break end
    for _, entry in ipairs(entries) do begin(lane, entry[1], entry[2] and entry[2][2]) end
  end
end
return commit({ begun, 0, is_unsure, now })
