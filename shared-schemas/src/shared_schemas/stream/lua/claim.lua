-- Begin attempts for entries that were delivered to a worker, then for new entries while it has free slots.
-- ARGS     worker; is_busy: it runs something now; held: {id = fence} of all jobs that it runs, or nil if the call
--          cannot say
--          lanes: in the order in which they are served; slots: free ones; capacity: all slots of the worker
--          lease_ms; version: the newest version of specs that the worker reads; token: random, and new for each call
--          entries: {{lane, entry, id}, …}, delivered to the worker and not begun
--          handed: {{lane, entry}, …}, only for a claim that was sent behind a blocking read of these lanes. The script
--          then begins nothing but the worker's own pending entries behind these ones, and ignores `entries`
--          running: transition
-- RARE     expired: transition of a job whose start deadline has passed; released, cancelled, paused: transitions
-- RETURNS  {attempts, suspects_wait (0|1), is_unsure (0|1), now (ms)}. An attempt is {id, the job's parts as
--          MessagePack, spec, checkpoint or false}
--          suspects_wait: a suspect, a job that may crash its workers, is in the lane `alone`. Only a worker that runs
--          nothing begins it, and it begins nothing else until the suspect has ended
--          is_unsure: an entry is of a job that this worker runs already, and `held` was nil. Without `held` the script
--          cannot tell a lost answer from an attempt that goes on
-- WHY      One script reads entries and begins their attempts, so that no entry is left delivered and not begun.
local begun, is_begun, lease_end, is_unsure, free = {}, {}, ms(now + args.lease_ms), 0, args.slots

local function answer(job)
  is_begun[job.id] = true
  begun[#begun + 1] = { job.id, pack(job), job.values[2] or '', job.values[3] }
end

local function begin(lane, entry, id)
  if not id then return acknowledge(lane, entry) end
  local job, parts = load(id, 'spec', 'checkpoint')
  if not job then
    -- A job of a newer version: the entry stays pending until redeliver gives it to a newer worker.
    if not parts then acknowledge(lane, entry) end
    return
  end
  if parts[@STATE] == args.running.state and parts[@ENTRY] == entry then
    -- After a group was lost and created again, Redis delivers the same entry twice.
    if parts[@WORKER] ~= args.worker or is_begun[id] then return end
    if not args.held then
      is_unsure = 1
      return
    end
    if args.held[id] == parts[@FENCE] then return end
    -- The worker has neither renewed nor recorded: it never received the answer with this attempt, so it gets it again.
    if parts[@BEAT] == 0 and parts[@RECORDED] == 0 then return answer(job) end
    -- Otherwise the worker gave the attempt up, because it could not renew the lease in time, and nobody has reclaimed
    -- the job yet.
    acknowledge(lane, entry)
    local pause = let_go(job)
    enqueue(job, @FRONT, rare('released'))
    return apply_requests(job, pause)
  end
  if parts[@ENTRY] ~= entry or not allows(args.running, parts) then return acknowledge(lane, entry) end
  if parts[@ATTEMPT] == 0 and parts[@DEADLINE] and now > tonumber(parts[@DEADLINE]) then
    acknowledge(lane, entry)
    return finish(job, rare('expired'))
  end
  -- The entry stays pending until redeliver gives it to a newer worker.
  if parts[@VERSION] > args.version then return end
  if #begun >= args.slots or (parts[@SUSPECT] and (#begun > 0 or args.is_busy)) then return hand_back(job) end
  if parts[@SUSPECT] then args.slots = 1 end
  local attempt = parts[@ATTEMPT] + 1
  parts[@ATTEMPT], parts[@RECORDED], parts[@BEAT] = attempt, 0, 0
  -- Each place from the first of these to the last gets a value, so that the array has no gap.
  parts[@FENCE], parts[@WORKER], parts[@SETTLED], parts[@LEASE] =
    text(attempt) .. '-' .. args.token, args.worker, parts[@SETTLED] or false, args.lease_ms
  parts[@STARTED] = NOW
  local runs_alone = parts[@SUSPECT] or args.capacity == 1
  if runs_alone or parts[@FINISHED] ~= nil then
    parts[@FINISHED], parts[@RAN_ALONE] = false, runs_alone and 1 or false
  end
  relist(job, args.running.state, parts[@LANE])
  add('leases', lease_end, id)
  if parts[@DEADLINE] then remove('deadlines', id) end
  append_change(job, args.running.event, args.running.body)
  answer(job)
end

-- suspects_wait: 0 | 1. -> the answer of the call
local function done(suspects_wait)
  if #begun > 0 then is_short = #begun < free end
  return commit({ begun, suspects_wait, is_unsure, now })
end

local function read(lane, count)
  local name = key('ready', lane)
  -- Most lanes are empty, and XLEN costs less than XREADGROUP.
  if safe_call('XLEN', name) == 0 then return nil end
  local command = { 'XREADGROUP', 'GROUP', @GROUP, args.worker, 'COUNT', count, 'STREAMS', name, '>' }
  local reply = redis.pcall(unpack(command))
  if reply and reply.err then
    -- A group that was lost starts again at 0. The stored job shows which entries were delivered before.
    redis.call('XGROUP', 'CREATE', name, @GROUP, '0', 'MKSTREAM')
    reply = redis.call(unpack(command))
  end
  return reply and reply[1] and reply[1][2]
end

local function has_undelivered(lane)
  local newest = safe_call('XREVRANGE', key('ready', lane), '+', '-', 'COUNT', 1)[1]
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
  -- The blocking read of a worker that runs nothing includes the lane of suspects.
  return done(args.is_busy and has_undelivered(@ALONE) and 1 or 0)
end
for _, handed in ipairs(args.entries) do begin(handed[1], handed[2], handed[3]) end
while args.slots > 0 and has_undelivered(@ALONE) do
  -- The worker runs something, so it begins nothing more. It will soon run nothing, and can begin the suspect.
  if #begun > 0 or args.is_busy then return done(1) end
  for _, entry in ipairs(read(@ALONE, 1) or {}) do begin(@ALONE, entry[1], entry[2] and entry[2][2]) end
end
for _, lane in ipairs(args.lanes) do
  -- Read on while there are slots: many entries may be of jobs that were cancelled.
  while #begun < args.slots do
    local entries = read(lane, args.slots - #begun)
    if not entries then break end
    for _, entry in ipairs(entries) do begin(lane, entry[1], entry[2] and entry[2][2]) end
  end
end
return done(0)
