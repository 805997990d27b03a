-- Joined behind prelude.lua: what was gathered there is written here, to the log of all jobs as well, and told to those who listen.
local LOG = tag .. 'log'

-- How many changes there had been by this entry; none of one that no script wrote.
local function count_of(entry)
  local count = entry and tonumber(entry[2][2]) or 0
  return count >= 0 and count < 1e15 and math.floor(count) or 0
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
  local changes = #logged / 2
  for first = 1, changes, @LOG_LINES do
    local last = math.min(first + @LOG_LINES - 1, changes)
    local reply = call('XADD', LOG, ms(at) .. '-' .. ms(n + last - 1), 'count', ms(count + last),
      'changes', table.concat(logged, '\n', first * 2 - 1, last * 2))
    if reply.err then return false end
  end
  return true
end

-- Where an id was given before: the newest entries are gone, and their ids are not given again.
-- -> as write_log, and how many changes there had been
local function append_after_all(count)
  -- Entries of a time beyond all clocks, behind which there is no room, are none that a script wrote. Valkey 9 lets no
  -- stream go back behind an id that was deleted, so the log is made anew, with the newest of its own entries.
  -- -> the first id that may follow then, in two parts, and how many changes there have been
  local function make_anew()
    local kept = {}
    for _, entry in ipairs(redis.call('XREVRANGE', LOG, '+', '-', 'COUNT', '200')) do
      if tonumber(string.match(entry[1], '^%d+')) < 1e15 then kept[#kept + 1] = entry end
    end
    redis.call('DEL', LOG)
    for i = #kept, 1, -1 do redis.call('XADD', LOG, kept[i][1], unpack(kept[i][2])) end
    local at, n = following(kept[1] and kept[1][1] or '0-0')
    return at, n, count_of(kept[1])
  end

  local at, n
  local facts = redis.call('XINFO', 'STREAM', LOG)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then at, n = following(facts[i + 1]) end
  end
  if not append_to_log(redis.pcall, at, n, count) then
    at, n, count = make_anew()
    append_to_log(redis.call, at, n, count)
  end
  return at, n, count
end

-- -> the id of the first change that was logged, in two parts
local function write_log()
  local newest = ask('XREVRANGE', LOG, '+', '-', 'COUNT', '1')[1]
  local count = count_of(newest)
  local at, n = following(newest and newest[1] or '0-0')
  if not append_to_log(redis.pcall, at, n, count) then
    at, n, count = append_after_all(count)
  end
  local now_count = count + #logged / 2
  if math.floor(count / @LOG_STEP) < math.floor(now_count / @LOG_STEP) then
    -- Entries hold more changes at one time than at another: what is left is about as many as are wanted.
    local kept = now_count - count_of(ask('XRANGE', LOG, '-', '+', 'COUNT', '1')[1])
    local length = tonumber(ask('GET', tag .. 'log_length') or @LOG_LENGTH) or @LOG_LENGTH
    if kept > length or kept < 0 then
      redis.call('XTRIM', LOG, 'MAXLEN', '~', ms(math.floor(redis.call('XLEN', LOG) * length / math.max(kept, length))))
    end
  end
  return at, n
end

-- Rings the bells that somebody hears. A job's has the name of its hash.
local function ring(at, n)
  local names, is_named = {}, {}
  for i = 1, #told, 3 do
    local name = told[i].key
    if not is_named[name] then names[#names + 1], is_named[name] = name, true end
  end
  local of_log = tag .. 'bell'
  if at then names[#names + 1] = of_log end
  -- A list for each name that somebody has subscribed to: to ask once for all costs as much as to ring one.
  local heard = {}
  for first = 1, #names, 1000 do
    local counts = redis.call('PUBSUB', 'NUMSUB', unpack(names, first, math.min(first + 999, #names)))
    for i = 1, #counts, 2 do
      if counts[i + 1] > 0 then heard[counts[i]] = {} end
    end
  end
  if not next(heard) then return end
  for i = 1, #told, 3 do
    local lines = heard[told[i].key]
    if lines then lines[#lines + 1] = told[i + 1] .. ' ' .. told[i + 2] end
  end
  local lines = heard[of_log]
  for i = 1, lines and #logged / 2 or 0 do
    lines[i] = ms(at) .. '-' .. ms(n + i - 1) .. ' ' .. logged[i * 2 - 1] .. ' ' .. logged[i * 2]
  end
  for name, lines in pairs(heard) do redis.call('PUBLISH', name, table.concat(lines, '\n')) end
end

-- Acknowledges entries of a ready stream and deletes them.
local function delete_entries(name, entries)
  for first = 1, #entries, 1000 do
    local last = math.min(first + 999, #entries)
    redis.pcall('XACK', name, @GROUP, unpack(entries, first, last))
    local reply = redis.pcall('XDEL', name, unpack(entries, first, last))
    if type(reply) == 'table' then
      if is_in_the_way(reply.err) then
        ask('XLEN', name)
      else
        -- One of them is no id, given by no script of ours: both commands refuse all then, so each goes alone.
        for i = first, last do
          redis.pcall('XACK', name, @GROUP, entries[i])
          redis.pcall('XDEL', name, entries[i])
        end
      end
    end
  end
end

-- Writes what was gathered. Every script that changes a job ends with it, once. -> the answer that it was given
local function commit(answer)
  for _, job in pairs(loaded) do write_hash(job) end
  for lane, entries in pairs(retired) do
    delete_entries(key('ready', lane), entries)
  end
  for name, members in pairs(zsets) do
    local given, gone, n_given, n_gone = {}, {}, 0, 0
    for member, score in pairs(members) do
      if score then
        given[n_given + 1], given[n_given + 2] = score, member
        n_given = n_given + 2
      else
        n_gone = n_gone + 1
        gone[n_gone] = member
      end
    end
    call_with(gone, 'ZREM', tag .. name)
    call_with(given, 'ZADD', tag .. name)
  end
  if #logged > 0 then ring(write_log()) else ring() end
  return answer
end
