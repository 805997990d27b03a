-- Joined in front of every script of a queue.
-- KEYS[1] -> the queue's tag "{hr:<queue>}:"; every key touched is made from it, so all lie in one slot
-- ARGV[1] -> the arguments, one MessagePack map; each script's header names its fields
-- A transition argument is {sources = "|a|b|", state, event, body}: the states it may leave, the one it
-- enters, and the event to append (its name, and its JSON without the opening brace).
-- No script writes before everything it will do has been validated: Lua has no rollback.
local tag = KEYS[1]
local args = cmsgpack.unpack(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local GROUP, FRONT, ALONE, LOG_LENGTH = 'workers', 'front', 'alone', 100000
-- A timeline shorter than this, in bytes, is kept in the job's hash: a stream of its own takes 4 KiB however short it is.
local SHORT = 1024

local function key(kind, name) return tag .. kind .. ':' .. name end

-- A whole number as text. One call has the same few again and again, and each costs as much as a lookup of twenty.
local texts = {}
local function text(number)
  local known = texts[number]
  if not known then
    known = string.format('%.0f', number)
    texts[number] = known
  end
  return known
end
local ms = text
local NOW = ms(now)

-- The record: what a job's hash keeps as one MessagePack array, in this order, which rows.py has as well; false or the end of
-- the array stands for nothing. An array, because a table with names costs Lua several times as much; times, in ms, are texts,
-- because a number costs a long way to one each time.
local STATE, LANE, HOME, VERSION, CREATED, TTL, N, ATTEMPT, FAILURES, CRASHES = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
local SUBJECT, TAGS, ENTRY, RECORDED, BEAT, FENCE, WORKER, SETTLED, LEASE = 11, 12, 13, 14, 15, 16, 17, 18, 19
local STARTED, FINISHED, RAN_ALONE, DUE, DEADLINE, WAITING, CANCEL, PAUSE = 20, 21, 22, 23, 24, 25, 26, 27
local SUSPECT, REPLAY_OF, RETRY_OF, RETRIED_AS = 28, 29, 30, 31

-- What a script changes is gathered here, over all its jobs, and written by `commit` at its end: one command for many
-- members costs Redis a fraction of one command each.
local loaded, zsets, retired, log_bell = {}, {}, {}, {}

local function keep(id, record, timeline, values)
  local job = { id = id, key = tag .. 'job:' .. id, record = record, timeline = timeline, values = values,
    is_changed = false, fields = false, bell = false, result = nil }
  loaded[id] = job
  return job
end

-- -> the job and its record. job.timeline: false where it has become a stream. job.values: the fields of the hash that were
-- named, from 3 on.
local function load(id, ...)
  local job = loaded[id]
  if job then return job, job.record end
  local values = redis.call('HMGET', tag .. 'job:' .. id, 'job', 'timeline', ...)
  local is_whole, record = pcall(cmsgpack.unpack, values[1])
  if not is_whole or type(record) ~= 'table' then return nil end
  return keep(id, record, values[2], values), record
end

local function allows(transition, record)
  return string.find(transition.sources, '|' .. record[STATE] .. '|', 1, true) ~= nil
end

-- Up to three values of the record; false for nothing.
local function set(job, place, value, ...)
  local record = job.record
  for gap = #record + 1, place - 1 do record[gap] = false end
  record[place] = value
  job.is_changed = true
  if ... then set(job, ...) end
end

-- A field of the hash beside the record; false deletes it.
local function set_field(job, name, value)
  if not job.fields then job.fields = {} end
  job.fields[name] = value
end

local function add(name, score, member)
  local members = zsets[name]
  if not members then
    members = {}
    zsets[name] = members
  end
  members[member] = score
end

local function remove(name, member) add(name, false, member) end

local function append_to_stream(job, n, event, data)
  redis.call('XADD', key('events', job.id), n .. '-0', 'event', event, 'data', data)
end

local function make_long(job)
  for n, event, data in string.gmatch(job.timeline, '(%d+) (%S+) ([^\n]+)') do append_to_stream(job, n, event, data) end
  job.timeline = false
  set_field(job, 'timeline', false)
end

-- Appends one numbered, stamped event to the timeline and keeps it for the bell. -> "<event> <data>"
local function append(job, event, body)
  local record = job.record
  local n = record[N] + 1
  local number = text(n)
  local change = event .. ' {"n":' .. number .. ',"at":' .. NOW .. ',"attempt":' .. text(record[ATTEMPT]) .. ',' .. body
  local line = number .. ' ' .. change
  job.bell = job.bell and job.bell .. '\n' .. line or line
  if job.timeline and #job.timeline + #line > SHORT then make_long(job) end
  if not job.timeline then
    append_to_stream(job, n, event, string.sub(change, #event + 2))
  elseif job.timeline == '' then
    job.timeline = line
  else
    job.timeline = job.timeline .. '\n' .. line
  end
  record[N] = n
  job.is_changed = true
  return change
end

-- Appends what a producer hands over, {first, events = {{event, body, field or nil}, …}}, less what is there already.
local function append_new(job, item)
  local recorded = job.record[RECORDED]
  for i, event in ipairs(item.events) do
    if item.first + i > recorded then
      local change = append(job, event[1], event[2])
      if event[3] then set_field(job, event[3], string.sub(change, #event[1] + 2)) end
    end
  end
end

-- Appends a change of state to the timeline and to the log of all jobs.
local function announce(job, event, body)
  local line = job.id .. ' ' .. append(job, event, body)
  local entry = redis.call('XADD', tag .. 'log', 'MAXLEN', '~', LOG_LENGTH, '*', 'event', line)
  log_bell[#log_bell + 1] = entry .. ' ' .. line
end

-- Whether one stream id comes before another.
local function is_before(a, b)
  local a_ms, a_n = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_n = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_n) < tonumber(b_n)
end

local function relist(job, state, lane)
  local record = job.record
  if record[STATE] then remove('listing:' .. record[STATE] .. ':' .. record[LANE], job.id) end
  add('listing:' .. state .. ':' .. lane, '0', job.id)
  record[STATE], record[LANE] = state, lane
  job.is_changed = true
end

-- Acknowledges a delivered entry. An undelivered one must stay: deleting it would make the group's lag unknown.
local function retire(lane, entry)
  local entries = retired[lane]
  if not entries then
    entries = {}
    retired[lane] = entries
  end
  entries[#entries + 1] = entry
end

local function make_ready(job)
  set(job, ENTRY, redis.call('XADD', key('ready', job.record[LANE]), '*', 'job', job.id))
end

-- Gives a delivered entry back: the job is queued still, and stands first now.
local function hand_back(job)
  local record = job.record
  retire(record[LANE], record[ENTRY])
  relist(job, record[STATE], record[SUSPECT] and ALONE or FRONT)
  make_ready(job)
end

-- -> whether a pause was asked for, which counts for this attempt only
local function let_go(job)
  local was_asked = job.record[PAUSE]
  remove('leases', job.id)
  set(job, FENCE, false, WORKER, false)
  if was_asked then set(job, PAUSE, false) end
  return was_asked
end

-- The four ways a job moves: to a ready stream, to the schedule, aside, and to its end.
local function enqueue(job, lane, transition)
  relist(job, transition.state, job.record[SUSPECT] and ALONE or lane)
  make_ready(job)
  announce(job, transition.event, transition.body)
  if job.record[DUE] then set(job, DUE, false) end
end

local function schedule(job, due, transition)
  relist(job, transition.state, job.record[LANE])
  local body = transition.body
  if due then
    body = '"delay_ms":' .. ms(math.max(0, due - now)) .. ',' .. body
    add('due', ms(due), job.id)
  end
  set(job, DUE, due and ms(due) or false)
  announce(job, transition.event, body)
end

local function park(job, transition)
  relist(job, transition.state, job.record[LANE])
  if job.record[DUE] then remove('due', job.id) end
  announce(job, transition.event, transition.body)
end

-- A dead letter is listed twice, among all and among those that failed with the same code.
local function list_dead(id, code)
  add('dead', '0', id)
  add('dead:' .. code, '0', id)
end

local function unlist_dead(id)
  local error = redis.call('HGET', key('job', id), 'error')
  if error then redis.call('ZREM', key('dead', cjson.decode(error).code), id) end
  return redis.call('ZREM', tag .. 'dead', id) == 1
end

local function forget_dates(job)
  local record = job.record
  if record[DUE] then
    remove('due', job.id)
    record[DUE] = false
  end
  if record[WAITING] then
    remove('waiting', job.id)
    record[WAITING] = false
  end
  if record[DEADLINE] then remove('deadlines', job.id) end
end

-- transition.result, .error, .digest: JSON fields to keep; transition.dead: the code to list it under as a dead letter.
local function finish(job, transition)
  local record = job.record
  relist(job, transition.state, record[LANE])
  forget_dates(job)
  if record[FAILURES] > 0 then set_field(job, 'error', false) end
  job.result = transition.result
  if transition.error then set_field(job, 'error', transition.error) end
  if transition.digest then set_field(job, 'digest', transition.digest) end
  if transition.dead then list_dead(job.id, transition.dead) end
  add('expiring', ms(now + record[TTL]), job.id)
  announce(job, transition.event, transition.body)
  set(job, FINISHED, NOW)
end

-- What was asked of an attempt that has just let go of its job without ending it.
local function heed_requests(job, pause)
  if job.record[CANCEL] then
    if allows(args.cancelled, job.record) then finish(job, args.cancelled) end
  elseif pause then
    if allows(args.paused, job.record) then park(job, args.paused) end
  end
end

-- Calls a command with a list that may be longer than Lua's stack, in parts of an even length.
local function call_with(list, ...)
  for first = 1, #list, 1000 do
    local command = { ... }
    for i = first, math.min(first + 999, #list) do command[#command + 1] = list[i] end
    redis.call(unpack(command))
  end
end

local function write_fields(job)
  local given, gone = {}, {}
  for field, value in pairs(job.fields) do
    if value then
      given[#given + 1], given[#given + 2] = field, value
    else
      gone[#gone + 1] = field
    end
  end
  call_with(given, 'HSET', job.key)
  call_with(gone, 'HDEL', job.key)
end

-- The two fields of nearly all calls are written without a list being made.
local function write_job(job)
  if job.is_changed then
    local record = cmsgpack.pack(job.record)
    if job.timeline and job.result then
      redis.call('HSET', job.key, 'job', record, 'timeline', job.timeline, 'result', job.result)
    elseif job.timeline then
      redis.call('HSET', job.key, 'job', record, 'timeline', job.timeline)
    else
      redis.call('HSET', job.key, 'job', record)
      if job.result then redis.call('HSET', job.key, 'result', job.result) end
    end
  end
  if job.fields then write_fields(job) end
  if job.bell then redis.call('PUBLISH', tag .. 'bell:' .. job.id, job.bell) end
  job.is_changed, job.fields, job.bell, job.result = false, false, false, nil
end

-- Writes what was gathered. Every script that changes a job ends with it. -> the answer that it was given
local function commit(answer)
  for _, job in pairs(loaded) do write_job(job) end
  for lane, entries in pairs(retired) do
    call_with(entries, 'XACK', key('ready', lane), GROUP)
    call_with(entries, 'XDEL', key('ready', lane))
  end
  for name, members in pairs(zsets) do
    local given, gone = {}, {}
    for member, score in pairs(members) do
      if score then
        given[#given + 1] = score
        given[#given + 1] = member
      else
        gone[#gone + 1] = member
      end
    end
    call_with(gone, 'ZREM', tag .. name)
    call_with(given, 'ZADD', tag .. name)
  end
  if #log_bell > 0 then redis.call('PUBLISH', tag .. 'bell', table.concat(log_bell, '\n')) end
  zsets, retired, log_bell = {}, {}, {}
  return answer
end
