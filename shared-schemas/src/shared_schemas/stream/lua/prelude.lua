-- Joined in front of every script of a queue, less the declarations that it does not need.
-- KEYS[1] -> the queue's tag "{hr:<queue>}:"; every key touched is made from it, so all lie in one slot
-- ARGV[1] -> the arguments, one MessagePack map; each script's header names its fields
-- ARGV[2] -> more of them in the same form, for scripts that say SELDOM: most calls need none, and unpack none
-- A transition argument is {sources = {a = true, b = true}, state, event, body}: the states it may leave, the one it
-- enters, and the event to append (its name, and its JSON without the opening brace).
-- No script writes before everything it will do has been validated: Lua has no rollback.
local tag = KEYS[1]
local args = cmsgpack.unpack(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- Whether an error says that somebody else has put something under a name: a value of another type, or a stream whose
-- last entry has the highest id that there can be.
local function is_in_the_way(failure)
  return string.find(failure, 'WRONGTYPE', 1, true) or string.find(failure, 'exhausted the last possible ID', 1, true)
    or string.find(failure, 'specified in XADD', 1, true)
end

-- Calls a command on an index or a ready stream. Where somebody put something else under its name, that is dropped: no job
-- lies in it, and `repair` lists anew what the log names.
local function ask(command, name, ...)
  local reply = redis.pcall(command, name, ...)
  if type(reply) ~= 'table' or not reply.err then return reply end
  if is_in_the_way(reply.err) then
    redis.call('DEL', name)
    redis.call('SET', tag .. 'mend', '-')
  end
  return redis.call(command, name, ...)
end

local function key(kind, name) return tag .. kind .. ':' .. name end

local unpacked
local function seldom(name)
  unpacked = unpacked or cmsgpack.unpack(ARGV[2])
  return unpacked[name]
end

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

-- The record: what a job's hash keeps as one MessagePack array. A name behind an @, as @FENCE, stands for the place of that
-- part, which record.py says. An array, because a table with names costs Lua several times as much; times, in ms, are texts,
-- because it is costly to turn a number into a text.

-- What a script changes is gathered here, over all its jobs, and written by `commit` at its end: one command for many
-- members costs Redis a fraction of one command each.
-- told: for each new event its job, its number and itself; logged: for each change its job's id and itself.
local loaded, zsets, retired, told, logged = {}, {}, {}, {}, {}

-- job.given: fields of the hash to write, each followed by its value.
local function keep(id, name, record, values)
  -- Room for three fields, made at once.
  local job = { id = id, key = name, record = record, values = values, given = { nil, nil, nil, nil, nil, nil },
    is_changed = false, is_new = not values }
  loaded[id] = job
  return job
end

local function allows(transition, record) return transition.sources[record[@STATE]] end

-- false for nothing
local function set(job, place, value)
  local record = job.record
  for gap = #record + 1, place - 1 do record[gap] = false end
  record[place] = value
  job.is_changed = true
end

-- A field of the hash beside the record.
local function set_field(job, name, value)
  local given = job.given
  local count = #given
  given[count + 1], given[count + 2] = name, value
end

-- Calls a command on a list that may be longer than Lua's stack, in parts of an even length.
local function call_with(list, command, name)
  for first = 1, #list, 1000 do
    ask(command, name, unpack(list, first, math.min(first + 999, #list)))
  end
end

-- -> the record, as it is kept
local function pack(job)
  local packed = cmsgpack.pack(job.record)
  set_field(job, 'job', packed)
  job.is_changed = false
  return packed
end

local function write_hash(job)
  if job.is_changed then pack(job) end
  if job.given[1] then redis.call('HSET', job.key, unpack(job.given)) end
end

local function write_hash_now(job)
  write_hash(job)
  job.given = {}
end

local function delete_fields(job, ...)
  write_hash_now(job)
  redis.call('HDEL', job.key, ...)
end

-- The table of that name among others, made when it is first asked for.
local function table_of(tables, name)
  local found = tables[name]
  if not found then
    found = {}
    tables[name] = found
  end
  return found
end

-- As table_of(zsets, name)[member] = score: nothing is called as often.
local function add(name, score, member)
  local members = zsets[name]
  if not members then
    members = {}
    zsets[name] = members
  end
  members[member] = score
end

local function remove(name, member) add(name, false, member) end

-- Appends an event to the timeline's own stream, to which what the hash holds of it moves first. Where something else lies
-- under its name, or an entry that no script wrote, the timeline begins again: its readers are told of the gap.
local function append_to_stream(job, n, event, data)
  local name = key('events', job.id)
  local function write(n, event, data)
    local id = text(n) .. '-0'
    local reply = redis.pcall('XADD', name, id, 'event', event, 'data', data)
    if type(reply) ~= 'table' or not reply.err then return end
    if is_in_the_way(reply.err) then redis.call('DEL', name) end
    redis.call('XADD', name, id, 'event', event, 'data', data)
  end

  if not job.record[@LONG] then
    write_hash_now(job)
    for n, change in ipairs(redis.call('HMGET', job.key, @SHORT_FIELDS)) do
      local event, data = string.match(change or '', '^(%S+) (.+)$')
      if event then write(n, event, data) end
    end
    delete_fields(job, @SHORT_FIELDS)
    set(job, @LONG, 1)
  end
  write(n, event, data)
end

-- Appends one numbered, stamped event to the timeline. -> "<event> <data>"
local function append(job, event, body)
  local record = job.record
  local n = record[@N] + 1
  local number = text(n)
  local change = event .. ' {"n":' .. number .. ',"at":' .. NOW .. ',"attempt":' .. text(record[@ATTEMPT]) .. ',' .. body
  -- Nobody can follow a job that is not stored, and whoever follows one reads first.
  if not job.is_new then
    local count = #told
    told[count + 1], told[count + 2], told[count + 3] = job, number, change
  end
  if not record[@LONG] and n <= @SHORT and #change <= @SHORT_BYTES then
    set_field(job, number, change)
  else
    append_to_stream(job, n, event, string.sub(change, #event + 2))
  end
  record[@N] = n
  job.is_changed = true
  return change
end

-- Appends what a producer hands over, events = {{event, body, field or nil}, …}, less what is there already.
local function append_new(job, first, events)
  if #events == 0 then return end
  local recorded, newest = job.record[@RECORDED], {}
  for i, event in ipairs(events) do
    if first + i > recorded then
      local change = append(job, event[1], event[2])
      if event[3] then newest[event[3]] = string.sub(change, #event[1] + 2) end
    end
  end
  for field, data in pairs(newest) do set_field(job, field, data) end
end

-- Appends a change of state to the timeline and to the log of all jobs.
local function announce(job, event, body)
  local count = #logged
  logged[count + 1], logged[count + 2] = job.id, append(job, event, body)
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
    table_of(listings, state)[lane] = name
  end
  return name
end

local function relist(job, state, lane)
  local record = job.record
  if record[@STATE] then remove(listing(record[@STATE], record[@LANE]), job.id) end
  add(listing(state, lane), '0', job.id)
  record[@STATE], record[@LANE] = state, lane
  job.is_changed = true
end

-- Acknowledges a delivered entry. An undelivered one must stay: deleting it would make the group's lag unknown.
local function retire(lane, entry)
  if not entry then return end
  local entries = table_of(retired, lane)
  entries[#entries + 1] = entry
end

local ready_keys = {}
local function make_ready(job)
  local record = job.record
  local lane = record[@LANE]
  local name = ready_keys[lane]
  if not name then
    name = key('ready', lane)
    ready_keys[lane] = name
  end
  local entry = redis.pcall('XADD', name, '*', 'job', job.id)
  -- `ask` costs more, and is needed for a failure alone. A string has no err.
  record[@ENTRY] = entry.err and ask('XADD', name, '*', 'job', job.id) or entry
  job.is_changed = true
end

-- Gives a delivered entry back: the job is queued still, and stands first now.
local function hand_back(job)
  local record = job.record
  retire(record[@LANE], record[@ENTRY])
  relist(job, record[@STATE], record[@SUSPECT] and @ALONE or @FRONT)
  make_ready(job)
end

-- -> whether a pause was asked for, which counts for this attempt only
local function let_go(job)
  local record = job.record
  local was_asked = record[@PAUSE]
  remove('leases', job.id)
  record[@FENCE], record[@WORKER] = false, false
  if was_asked then record[@PAUSE] = false end
  job.is_changed = true
  return was_asked
end

-- The four ways a job moves: to a ready stream, to the schedule, aside, and to its end.
local function enqueue(job, lane, transition)
  relist(job, transition.state, job.record[@SUSPECT] and @ALONE or lane)
  make_ready(job)
  announce(job, transition.event, transition.body)
  if job.record[@DUE] then set(job, @DUE, false) end
end

local function schedule(job, due, transition)
  relist(job, transition.state, job.record[@LANE])
  local body = transition.body
  if due then
    body = '"delay_ms":' .. ms(math.max(0, due - now)) .. ',' .. body
    add('due', ms(due), job.id)
  end
  set(job, @DUE, due and ms(due) or false)
  announce(job, transition.event, body)
end

local function park(job, transition)
  relist(job, transition.state, job.record[@LANE])
  if job.record[@DUE] then remove('due', job.id) end
  announce(job, transition.event, transition.body)
end

-- A dead letter is listed twice, among all and among those that failed with the same code.
local function list_dead(id, code)
  add('dead', '0', id)
  add('dead:' .. code, '0', id)
end

local function unlist_dead(id)
  local is_whole, code = pcall(function() return cjson.decode(redis.call('HGET', key('job', id), 'error')).code end)
  if is_whole and type(code) == 'string' then ask('ZREM', key('dead', code), id) end
  return ask('ZREM', tag .. 'dead', id) == 1
end

local function forget_dates(job)
  local record = job.record
  if record[@DUE] then
    remove('due', job.id)
    record[@DUE] = false
  end
  if record[@WAITING] then
    remove('waiting', job.id)
    record[@WAITING] = false
  end
  if record[@DEADLINE] then remove('deadlines', job.id) end
end

-- transition.result, .error, .digest, .facts: JSON fields to keep; transition.dead: the code to list it under as a dead letter.
local function finish(job, transition)
  local record = job.record
  relist(job, transition.state, record[@LANE])
  forget_dates(job)
  if record[@FAILURES] > 0 then delete_fields(job, 'error') end
  if transition.result then set_field(job, 'result', transition.result) end
  if transition.error then set_field(job, 'error', transition.error) end
  if transition.digest then set_field(job, 'digest', transition.digest) end
  if transition.facts then set_field(job, 'facts', transition.facts) end
  if transition.dead then list_dead(job.id, transition.dead) end
  add('expiring', ms(now + record[@TTL]), job.id)
  announce(job, transition.event, transition.body)
  -- Nothing asks a finished job for these, and it is kept for long.
  record[@HOME], record[@ENTRY] = false, false
  if record[@LEASE] then record[@LEASE] = false end
  set(job, @FINISHED, NOW)
end

-- What was asked of an attempt that has just let go of its job without ending it.
local function heed_requests(job, pause)
  if job.record[@CANCEL] then
    if allows(seldom('cancelled'), job.record) then finish(job, seldom('cancelled')) end
  elseif pause then
    if allows(seldom('paused'), job.record) then park(job, seldom('paused')) end
  end
end
