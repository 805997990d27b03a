-- The linker puts those declarations of this file that a script of a queue uses in front of the script.
-- KEYS[1] -> the queue's tag "{hr:<queue>}:". Every key is built from it, so all keys are in one slot.
-- ARGV[1] -> the arguments, one MessagePack map. The header of each script names its fields.
-- ARGV[2] -> further arguments in the same form, under RARE in a script's header. Most calls do not unpack them.
-- A transition is an argument {sources = {a = true, b = true}, state, event, body}: the states that it may leave, the
-- state that it enters, and the event to append (its name, and its JSON without the opening brace).
-- A stored job is a hash. Its field `job` is a MessagePack array, whose places are the parts of the job. In this code
-- @FENCE is the place of the part `fence`. The list of parts is in packed_job.py. It is an array because a table with
-- names costs Lua several times as much. Times, in ms, are texts, because converting a number to a text is slow.
-- No script writes before it has validated everything that it will do: Redis does not roll back a script.
local tag = KEYS[1]
local args = cmsgpack.unpack(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Whether an error says that the key holds what no script of ours wrote: a value of another type, or a stream whose
-- last id is the highest that is possible.
local function is_unusable(failure)
  return string.find(failure, 'WRONGTYPE', 1, true) or string.find(failure, 'exhausted the last possible ID', 1, true)
    or string.find(failure, 'specified in XADD', 1, true)
end

-- Calls a command on an index or a ready stream. A key that holds something else is deleted first, which loses no job:
-- `repair` then lists the jobs again that the log names.
local function safe_call(command, name, ...)
  local reply = redis.pcall(command, name, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if is_unusable(reply.err) then
    redis.call('DEL', name)
    redis.call('SET', tag .. 'mend', '-')
  end
  return redis.call(command, name, ...)
end

local function key(kind, name) return tag .. kind .. ':' .. name end

local unpacked
local function rare(name)
  unpacked = unpacked or cmsgpack.unpack(ARGV[2])
  return unpacked[name]
end

-- A whole number as text. One call formats the same few numbers often, and formatting costs as much as twenty lookups.
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

-- A script collects its changes to all jobs in these tables, and `commit` writes them at the end: one command with many
-- members costs Redis a fraction of one command for each member.
-- loaded: jobs by id. zsets: by name, for each member its new score, or false to remove it. acknowledged: by lane,
-- ids of entries. new_events: job, number and event, one after the other. new_changes: job id and event, one after
-- the other.
local loaded = {}
local zsets, acknowledged, new_events, new_changes = {}, {}, {}, {}
-- For the pace of the queue, which the log keeps. n_ended: attempts that the call has ended. is_short: whether the call
-- claimed fewer jobs than its worker had slots for; nil if it claimed none.
local n_ended, is_short = 0, nil

-- job.given: fields of the hash to write, each followed by its value. values: of the fields that were read; nil for a
-- new job.
local function track(id, name, parts, values)
  -- Reserves room for three fields, so that Lua does not grow the table step by step.
  local job = { id = id, key = name, parts = parts, values = values, given = { nil, nil, nil, nil, nil, nil },
    is_changed = false, is_new = not values }
  loaded[id] = job
  return job
end

local function allows(transition, parts) return transition.sources[parts[@STATE]] end

-- Sets one part of the job. false: the part has no value.
local function set(job, place, value)
  local parts = job.parts
  for gap = #parts + 1, place - 1 do parts[gap] = false end
  parts[place] = value
  job.is_changed = true
end

-- Sets a field of the hash other than `job`.
local function set_field(job, name, value)
  local given = job.given
  local count = #given
  given[count + 1], given[count + 2] = name, value
end

-- Calls a command with arguments that may be too many for Lua's stack. Each call takes an even number of them, so that
-- scores and members stay together.
local function call_with(list, command, name)
  for first = 1, #list, 1000 do
    safe_call(command, name, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- -> the parts of the job as MessagePack, as they will be stored
local function pack(job)
  local packed = cmsgpack.pack(job.parts)
  set_field(job, 'job', packed)
  job.is_changed = false
  return packed
end

local function write_hash(job)
  if job.is_changed then pack(job) end
  if job.given[1] then redis.call('HSET', job.key, unpack(job.given)) end
end

local function flush_hash(job)
  write_hash(job)
  job.given = {}
end

local function delete_fields(job, ...)
  flush_hash(job)
  redis.call('HDEL', job.key, ...)
end

-- -> tables[name], a new table if there is none yet
local function subtable(tables, name)
  local found = tables[name]
  if not found then
    found = {}
    tables[name] = found
  end
  return found
end

-- Sets zsets[name][member]. Without a call of subtable, because no function here is called more often.
local function add(name, score, member)
  local members = zsets[name]
  if not members then
    members = {}
    zsets[name] = members
  end
  members[member] = score
end

local function remove(name, member) add(name, false, member) end

-- Appends an event to the stream of the timeline. The events in the hash move there first. If the key holds something
-- else, or an entry that no script wrote, the timeline starts again, and its readers get the event `gap`.
local function append_to_stream(job, n, event, data)
  local name = key('events', job.id)
  local function write(n, event, data)
    local id = text(n) .. '-0'
    local reply = redis.pcall('XADD', name, id, 'event', event, 'data', data)
    if type(reply) ~= 'table' or not reply.err then return end
    if is_unusable(reply.err) then redis.call('DEL', name) end
    redis.call('XADD', name, id, 'event', event, 'data', data)
  end

  if not job.parts[@LONG] then
    flush_hash(job)
    for n, change in ipairs(redis.call('HMGET', job.key, @SHORT_FIELDS)) do
      local event, data = string.match(change or '', '^(%S+) (.+)$')
      if event then write(n, event, data) end
    end
    delete_fields(job, @SHORT_FIELDS)
    set(job, @LONG, 1)
  end
  write(n, event, data)
end

-- Appends an event to the timeline, with its number, the time and the attempt in front. -> "<event> <data>"
local function append(job, event, body)
  local parts = job.parts
  local n = parts[@N] + 1
  local number = text(n)
  local change = event .. ' {"n":' .. number .. ',"at":' .. NOW .. ',"attempt":' .. text(parts[@ATTEMPT]) .. ',' .. body
  -- A new job needs no notification: a reader reads the timeline first, and `submit` gives its caller the event.
  if not job.is_new then
    local count = #new_events
    new_events[count + 1], new_events[count + 2], new_events[count + 3] = job, number, change
  end
  if not parts[@LONG] and n <= @SHORT and #change <= @SHORT_BYTES then
    set_field(job, number, change)
  else
    append_to_stream(job, n, event, string.sub(change, #event + 2))
  end
  parts[@N] = n
  job.is_changed = true
  return change
end

-- Appends the events of a producer, {{event, body, field or nil}, …}, except those that an earlier call appended.
-- first: how many events the producer sent before these. field: of the hash, keeps the newest event of that kind.
local function append_new(job, first, events)
  if #events == 0 then return end
  local recorded, newest = job.parts[@RECORDED], {}
  for i, event in ipairs(events) do
    if first + i > recorded then
      local change = append(job, event[1], event[2])
      if event[3] then newest[event[3]] = string.sub(change, #event[1] + 2) end
    end
  end
  for field, data in pairs(newest) do set_field(job, field, data) end
end

-- Appends a change of state to the timeline and to the log of the queue.
local function append_change(job, event, body)
  local count = #new_changes
  new_changes[count + 1], new_changes[count + 2] = job.id, append(job, event, body)
end

-- Whether one stream id comes before another.
local function is_before(a, b)
  local a_ms, a_n = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_n = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_n) < tonumber(b_n)
end

local listings = {}
local function listing(state, lane)
  local names = listings[state]
  local name = names and names[lane]
  if not name then
    name = 'listing:' .. state .. ':' .. lane
    subtable(listings, state)[lane] = name
  end
  return name
end

local function relist(job, state, lane)
  local parts = job.parts
  if parts[@STATE] then remove(listing(parts[@STATE], parts[@LANE]), job.id) end
  add(listing(state, lane), '0', job.id)
  parts[@STATE], parts[@LANE] = state, lane
  job.is_changed = true
end

-- Acknowledges a delivered entry and deletes it. An entry that was not delivered must stay: if it were deleted, Redis
-- would no longer know the lag of the group.
local function acknowledge(lane, entry)
  if not entry then return end
  local entries = subtable(acknowledged, lane)
  entries[#entries + 1] = entry
end

local ready_keys = {}
local function make_ready(job)
  local parts = job.parts
  local lane = parts[@LANE]
  local name = ready_keys[lane]
  if not name then
    name = key('ready', lane)
    ready_keys[lane] = name
  end
  local entry = redis.pcall('XADD', name, '*', 'job', job.id)
  -- Only a failure needs safe_call, which costs more. The reply of a success is a string, whose field err is nil.
  parts[@ENTRY] = entry.err and safe_call('XADD', name, '*', 'job', job.id) or entry
  job.is_changed = true
end

-- Gives a delivered entry back: the job stays queued, now in the lane `front`, or in `alone` if it must run alone.
local function hand_back(job)
  local parts = job.parts
  acknowledge(parts[@LANE], parts[@ENTRY])
  relist(job, parts[@STATE], parts[@SUSPECT] and @ALONE or @FRONT)
  make_ready(job)
end

-- Ends the claim of an attempt on its job. -> whether a pause was requested, which counts for that attempt only
local function let_go(job)
  local parts = job.parts
  local was_asked = parts[@PAUSE]
  remove('leases', job.id)
  parts[@FENCE], parts[@WORKER] = false, false
  if was_asked then parts[@PAUSE] = false end
  job.is_changed = true
  return was_asked
end

-- Each change of state is one of these four: enqueue, schedule, pause_job, finish.
local function enqueue(job, lane, transition)
  relist(job, transition.state, job.parts[@SUSPECT] and @ALONE or lane)
  make_ready(job)
  append_change(job, transition.event, transition.body)
  if job.parts[@DUE] then set(job, @DUE, false) end
end

local function schedule(job, due, transition)
  relist(job, transition.state, job.parts[@LANE])
  local body = transition.body
  if due then
    body = '"delay_ms":' .. ms(math.max(0, due - now)) .. ',' .. body
    add('due', ms(due), job.id)
  end
  set(job, @DUE, due and ms(due) or false)
  append_change(job, transition.event, body)
end

local function pause_job(job, transition)
  relist(job, transition.state, job.parts[@LANE])
  if job.parts[@DUE] then remove('due', job.id) end
  append_change(job, transition.event, transition.body)
end

-- A dead letter is in two lists: of all, and of those with the same error code.
local function list_dead(id, code)
  add('dead', '0', id)
  add('dead:' .. code, '0', id)
end

local function unlist_dead(id)
  local is_whole, code = pcall(function() return cjson.decode(redis.call('HGET', key('job', id), 'error')).code end)
  if is_whole and type(code) == 'string' then safe_call('ZREM', key('dead', code), id) end
  return safe_call('ZREM', tag .. 'dead', id) == 1
end

local function clear_dates(job)
  local parts = job.parts
  if parts[@DUE] then
    remove('due', job.id)
    parts[@DUE] = false
  end
  if parts[@WAITING] then
    remove('waiting', job.id)
    parts[@WAITING] = false
  end
  if parts[@DEADLINE] then remove('deadlines', job.id) end
end

-- transition.result, .error, .facts: JSON, and .digest: a text, which the hash keeps. transition.dead: the error code
-- under which the job becomes a dead letter.
local function finish(job, transition)
  local parts = job.parts
  relist(job, transition.state, parts[@LANE])
  clear_dates(job)
  if parts[@FAILURES] > 0 then delete_fields(job, 'error') end
  if transition.result then set_field(job, 'result', transition.result) end
  if transition.error then set_field(job, 'error', transition.error) end
  if transition.digest then set_field(job, 'digest', transition.digest) end
  if transition.facts then set_field(job, 'facts', transition.facts) end
  if transition.dead then list_dead(job.id, transition.dead) end
  add('expiring', ms(now + parts[@TTL]), job.id)
  append_change(job, transition.event, transition.body)
  -- A finished job needs none of these, and it is kept for long.
  parts[@HOME], parts[@ENTRY] = false, false
  if parts[@LEASE] then parts[@LEASE] = false end
  set(job, @FINISHED, NOW)
end

-- Applies a request to cancel or pause, after an attempt has given up its job and the job has not ended. pause: from
-- let_go.
local function apply_requests(job, pause)
  if job.parts[@CANCEL] then
    if allows(rare('cancelled'), job.parts) then finish(job, rare('cancelled')) end
  elseif pause then
    if allows(rare('paused'), job.parts) then pause_job(job, rare('paused')) end
  end
end
