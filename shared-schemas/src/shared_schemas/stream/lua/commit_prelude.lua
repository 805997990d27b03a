-- Joined behind prelude.lua: what was gathered there is written here, to the log of all jobs as well, and told to those who listen.
local LOG = tag .. 'log'
-- Changes that the log keeps, about; how many of them one entry may hold; after how many it is trimmed.
local LOG_LENGTH, LOG_LINES, LOG_STEP = 100000, 16, 1000

-- How many changes there had been by this entry.
local function count_of(entry) return entry and tonumber(entry[2][2]) or 0 end

-- Entries hold more changes at one time than at another: what is left is about as many as are wanted.
local function trim_log(count)
  local kept = count - count_of(redis.call('XRANGE', LOG, '-', '+', 'COUNT', '1')[1])
  if kept > LOG_LENGTH then
    redis.call('XTRIM', LOG, 'MAXLEN', '~', ms(math.floor(redis.call('XLEN', LOG) * LOG_LENGTH / kept)))
  end
end

-- -> the first id, in two parts, that may follow this one
local function following(id)
  local at, n = string.match(id, '(%d+)-(%d+)')
  at, n = tonumber(at), tonumber(n)
  if at < now then return now, 0 end
  return at, n + 1
end

-- Many changes an entry: each costs Redis as much as one by itself. An entry has the id of its last change, those before it
-- the ids before that. call: redis.call, or redis.pcall, with which the answer is false where an id was given before
local function append_to_log(call, at, n, count)
  for first = 1, #logged, LOG_LINES do
    local last = math.min(first + LOG_LINES - 1, #logged)
    local reply = call('XADD', LOG, ms(at) .. '-' .. ms(n + last - 1), 'count', ms(count + last),
      'changes', table.concat(logged, '\n', first, last))
    if reply.err then return false end
  end
  return true
end

-- -> the id of the first change that was logged, in two parts
local function write_log()
  local newest = redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', '1')[1]
  local count = count_of(newest)
  local at, n = following(newest and newest[1] or '0-0')
  if not append_to_log(redis.pcall, at, n, count) then
    -- The newest entries are gone, and their ids are not given again.
    local facts = redis.call('XINFO', 'STREAM', LOG)
    for i = 1, #facts, 2 do
      if facts[i] == 'last-generated-id' then at, n = following(facts[i + 1]) end
    end
    append_to_log(redis.call, at, n, count)
  end
  if math.floor(count / LOG_STEP) < math.floor((count + #logged) / LOG_STEP) then trim_log(count + #logged) end
  return at, n
end

local function told_by_log(at, n)
  local lines = {}
  for i, change in ipairs(logged) do lines[i] = ms(at) .. '-' .. ms(n + i - 1) .. ' ' .. change end
  return table.concat(lines, '\n')
end

-- Rings the bells that somebody hears: to ask once for all costs as much as to ring one.
local function ring(at, n)
  local names, payloads = {}, {}
  if at then names[1] = tag .. 'bell' end
  for _, job in pairs(loaded) do
    if job.bell then
      local name = tag .. 'bell:' .. job.id
      names[#names + 1], payloads[name] = name, job.bell
      job.bell = false
    end
  end
  for first = 1, #names, 1000 do
    local heard = redis.call('PUBSUB', 'NUMSUB', unpack(names, first, math.min(first + 999, #names)))
    for i = 1, #heard, 2 do
      if heard[i + 1] > 0 then redis.call('PUBLISH', heard[i], payloads[heard[i]] or told_by_log(at, n)) end
    end
  end
end

-- Writes what was gathered. Every script that changes a job ends with it. -> the answer that it was given
local function commit(answer)
  for _, job in pairs(loaded) do write_hash(job) end
  for lane, entries in pairs(retired) do
    local ready = key('ready', lane)
    call_with(entries, 'XACK', ready, GROUP)
    call_with(entries, 'XDEL', ready)
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
  if #logged > 0 then ring(write_log()) else ring() end
  zsets, retired, logged = {}, {}, {}
  return answer
end
