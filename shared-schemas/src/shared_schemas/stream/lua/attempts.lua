-- Read the events at which the attempts of a job began and ended, without those in between.
-- ARGS     id; limit: how many of the newest attempts; changes: {a = true, b = true}, the names of events that change the state
-- RETURNS  the data of these events, oldest first
-- WHY      A timeline may be long. Each event has the number of its attempt, so a binary search finds where an attempt
--          began. Between the end of an attempt and the next begin there are only changes of state.
local timeline = key('events', args.id)
local short = redis.pcall('HMGET', key('job', args.id), @SHORT_FIELDS)

-- Raises an error for an entry that no script wrote. The answer is then what was found before.
local function event_of(n, name, data)
  return { n = tonumber(n), name = name, data = data, attempt = tonumber(string.match(data, '"attempt":(%d+)')) }
end

local function event_in(entry) return event_of(string.match(entry[1], '^%d+'), entry[2][2], entry[2][4]) end

local function at(n)
  if short[1] then return event_of(n, string.match(short[n], '^(%S+) (.+)$')) end
  return event_in(redis.call('XRANGE', timeline, n .. '-0', '+', 'COUNT', 1)[1])
end

local function newest()
  for n = @SHORT, 1, -1 do
    if short[n] then return at(n) end
  end
  local entry = redis.call('XREVRANGE', timeline, '+', '-', 'COUNT', 1)[1]
  return entry and event_in(entry)
end

local function begin_of(attempt, high)
  local low = 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if at(middle).attempt >= attempt then high = middle else low = middle + 1 end
  end
  return at(low)
end

local found = {}
local function find_back_from(last)
  local event = last
  for attempt = last.attempt, math.max(1, last.attempt - args.limit + 1), -1 do
    local begin = begin_of(attempt, event.n)
    while event.n > begin.n and args.changes[event.name] do
      table.insert(found, 1, event.data)
      event = at(event.n - 1)
    end
    table.insert(found, 1, begin.data)
    if begin.n == 1 then return end
    event = at(begin.n - 1)
  end
end

pcall(function()
  local last = newest()
  if last then find_back_from(last) end
end)
return found
