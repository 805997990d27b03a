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

local function key(kind, name) return tag .. kind .. ':' .. name end
local function ms(number) return string.format('%.0f', number) end

local FIELDS = { 'state', 'lane', 'home', 'entry', 'n', 'attempt', 'failures', 'crashes', 'fence', 'settled',
  'worker', 'recorded', 'beat', 'cancel', 'pause', 'due', 'waiting', 'deadline', 'ttl', 'version', 'suspect', 'alone',
  'lease' }
local NUMBERS = { n = true, attempt = true, failures = true, crashes = true, recorded = true, beat = true, version = true }

local function load(id)
  local values = redis.call('HMGET', key('job', id), unpack(FIELDS))
  if not values[1] then return nil end
  local job = { id = id, bell = {} }
  for i, field in ipairs(FIELDS) do
    job[field] = NUMBERS[field] and tonumber(values[i] or 0) or values[i]
  end
  return job
end

local function allows(transition, job)
  return string.find(transition.sources, '|' .. job.state .. '|', 1, true) ~= nil
end

local function set(job, ...) redis.call('HSET', key('job', job.id), ...) end

-- Appends one numbered, stamped event to the timeline and keeps it for the bell.
local function append(job, event, body)
  job.n = job.n + 1
  local data = string.format('{"n":%d,"at":%s,"attempt":%d,', job.n, ms(now), job.attempt) .. body
  redis.call('XADD', key('events', job.id), job.n .. '-0', 'event', event, 'data', data)
  job.bell[#job.bell + 1] = job.n .. ' ' .. event .. ' ' .. data
  return data
end

-- Appends what a producer hands over, {first, events = {{event, body, field or nil}, …}}, less what is there already.
local function append_new(job, item)
  for i, event in ipairs(item.events) do
    if item.first + i > job.recorded then
      local data = append(job, event[1], event[2])
      if event[3] then set(job, event[3], data) end
    end
  end
end

local function ring(job)
  if #job.bell > 0 then redis.call('PUBLISH', key('bell', job.id), table.concat(job.bell, '\n')) end
  job.bell = {}
end

-- Appends a change of state to the timeline and to the log of all jobs.
local function announce(job, event, body)
  local data = append(job, event, body)
  local entry = redis.call('XADD', tag .. 'log', 'MAXLEN', '~', LOG_LENGTH, '*', 'job', job.id, 'event', event, 'data', data)
  redis.call('PUBLISH', tag .. 'bell', entry .. ' ' .. job.id .. ' ' .. event .. ' ' .. data)
  ring(job)
end

-- Whether one stream id comes before another.
local function is_before(a, b)
  local a_ms, a_n = string.match(a, '(%d+)-(%d+)')
  local b_ms, b_n = string.match(b, '(%d+)-(%d+)')
  if a_ms ~= b_ms then return tonumber(a_ms) < tonumber(b_ms) end
  return tonumber(a_n) < tonumber(b_n)
end

local function relist(job, state, lane)
  if job.state then redis.call('ZREM', tag .. 'listing:' .. job.state .. ':' .. job.lane, job.id) end
  redis.call('ZADD', tag .. 'listing:' .. state .. ':' .. lane, 0, job.id)
  job.state, job.lane = state, lane
end

-- Acknowledges a delivered entry. An undelivered one must stay: deleting it would make the group's lag unknown.
local function retire(lane, entry)
  redis.call('XACK', key('ready', lane), GROUP, entry)
  redis.call('XDEL', key('ready', lane), entry)
end

-- Gives a delivered entry back: the job is queued still, and stands first now.
local function hand_back(job)
  retire(job.lane, job.entry)
  local lane = job.suspect and ALONE or FRONT
  local again = redis.call('XADD', key('ready', lane), '*', 'job', job.id)
  relist(job, job.state, lane)
  set(job, 'entry', again, 'lane', lane)
end

local function let_go(job)
  redis.call('ZREM', tag .. 'leases', job.id)
  redis.call('HDEL', key('job', job.id), 'fence', 'worker', 'pause')
end

-- The four ways a job moves: to a ready stream, to the schedule, aside, and to its end.
local function enqueue(job, lane, transition)
  if job.suspect then lane = ALONE end
  relist(job, transition.state, lane)
  local entry = redis.call('XADD', key('ready', lane), '*', 'job', job.id)
  job.entry = entry
  announce(job, transition.event, transition.body)
  set(job, 'state', job.state, 'lane', lane, 'entry', entry, 'n', job.n)
  redis.call('HDEL', key('job', job.id), 'due')
end

local function schedule(job, due, transition)
  relist(job, transition.state, job.lane)
  local body = transition.body
  if due then
    body = '"delay_ms":' .. ms(math.max(0, due - now)) .. ',' .. body
    redis.call('ZADD', tag .. 'due', ms(due), job.id)
    set(job, 'due', ms(due))
  else
    redis.call('HDEL', key('job', job.id), 'due')
  end
  announce(job, transition.event, body)
  set(job, 'state', job.state, 'lane', job.lane, 'n', job.n)
end

local function park(job, transition)
  relist(job, transition.state, job.lane)
  redis.call('ZREM', tag .. 'due', job.id)
  announce(job, transition.event, transition.body)
  set(job, 'state', job.state, 'n', job.n)
end

-- A dead letter is listed twice, among all and among those that failed with the same code.
local function list_dead(id, code)
  redis.call('ZADD', tag .. 'dead', 0, id)
  redis.call('ZADD', key('dead', code), 0, id)
end

local function unlist_dead(id)
  local error = redis.call('HGET', key('job', id), 'error')
  if error then redis.call('ZREM', key('dead', cjson.decode(error).code), id) end
  return redis.call('ZREM', tag .. 'dead', id) == 1
end

-- transition.result, .error, .digest: JSON fields to keep; transition.dead: the code to list it under as a dead letter.
local function finish(job, transition)
  relist(job, transition.state, job.lane)
  for _, set_name in ipairs({ 'due', 'waiting', 'deadlines' }) do redis.call('ZREM', tag .. set_name, job.id) end
  redis.call('HDEL', key('job', job.id), 'error', 'due', 'waiting')
  for _, field in ipairs({ 'result', 'error', 'digest' }) do
    if transition[field] then set(job, field, transition[field]) end
  end
  if transition.dead then list_dead(job.id, transition.dead) end
  redis.call('ZADD', tag .. 'expiring', ms(now + tonumber(job.ttl)), job.id)
  announce(job, transition.event, transition.body)
  set(job, 'state', job.state, 'n', job.n, 'finished', ms(now))
end

-- What was asked of an attempt that has just let go of its job without ending it.
local function heed_requests(job)
  if job.cancel then
    if allows(args.cancelled, job) then finish(job, args.cancelled) end
  elseif job.pause then
    if allows(args.paused, job) then park(job, args.paused) end
  end
end
