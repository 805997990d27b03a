-- The linker puts these declarations behind those of prelude.lua. They write the changes that a script has collected,
-- append them to the log, and notify subscribers.
local LOG = tag .. 'log'

-- How many changes the log has had up to this entry; 0 for an entry that no script wrote.
local function count_of(entry)
  local count = entry and tonumber(entry[2][2]) or 0
  return count >= 0 and count < 1e15 and math.floor(count) or 0
end

-- -> the smallest id that may follow this one: its time, its number
local function id_after(id)
  local at, n = string.match(id, '(%d+)-(%d+)')
  at, n = tonumber(at), tonumber(n)
  if at < now then return now, 0 end
  return at, n + 1
end

-- Whether jobs wait for a worker. Every lane is empty most of the time but `normal`.
local function is_backlogged()
  for _, lane in ipairs({ 'normal', 'high', 'low', @FRONT, @ALONE }) do
    if safe_call('ZCARD', tag .. listing(@QUEUED, lane)) > 0 then return true end
  end
  return false
end

-- What the new entries say of the pace: "<ended> <until> <busy> <since>". The queue is busy while attempts run and no
-- slot of a worker is known to be free. busy: how long it was so, ms, without the time since `since`, ms, which is 0 if
-- it is not busy now. ended: attempts that ended in that time. until: `busy` at the last of these ends.
local function next_pace(newest)
  local last = newest and newest[2][6] or '0 0 0 0'
  if n_ended == 0 and is_short == nil then return last end
  local ended, till, busy, since = pace_of(last)
  if not ended then ended, till, busy, since = 0, 0, 0, 0 end
  if since > 0 and n_ended > 0 then
    ended = ended + n_ended
    till = busy + math.max(0, now - since)
  end
  local is_busy = since > 0
  if is_short ~= nil then
    is_busy = not is_short
  elseif is_busy and safe_call('ZCARD', tag .. 'leases') == 0 then
    -- The worker will soon claim again if jobs wait. That time counts, because it is part of each job's turn.
    is_busy = is_backlogged()
  end
  if is_busy and since == 0 then since = now end
  if not is_busy and since > 0 then
    busy = busy + math.max(0, now - since)
    since = 0
  end
  return ms(ended) .. ' ' .. ms(till) .. ' ' .. ms(busy) .. ' ' .. ms(since)
end

-- Appends the new changes, many in one entry, because an entry with many costs as much as an entry with one. An entry
-- has the id of its last change, and the changes before it have the ids just below. call: redis.call, or redis.pcall.
-- pace: see next_pace.
-- -> false if redis.pcall failed, because the stream has had an id as high before
local function append_to_log(call, at, n, count, pace)
  local changes = #new_changes / 2
  for first = 1, changes, @LOG_LINES do
    local last = math.min(first + @LOG_LINES - 1, changes)
    local reply = call('XADD', LOG, ms(at) .. '-' .. ms(n + last - 1), 'count', ms(count + last),
      'changes', table.concat(new_changes, '\n', first * 2 - 1, last * 2), 'pace', pace)
    if reply.err then return false end
  end
  return true
end

-- Appends the changes to a log whose newest entries were deleted: Redis accepts only ids above theirs.
-- -> as write_log, and how many changes the log has had
local function append_behind_last_id(count, pace)
  -- For a log with an entry of the highest possible id, which no script wrote and no entry can follow. Valkey 9
  -- accepts no id below one that was deleted, so this creates the stream again, with all entries that a script wrote:
  -- where indexes are lost as well, only the log names their jobs. @LOG_LENGTH entries bound the memory for this.
  -- -> the smallest id that may follow: its time, its number; how many changes the log has had
  local function rebuild_log()
    local kept = {}
    for _, entry in ipairs(redis.call('XREVRANGE', LOG, '999999999999999-0', '-', 'COUNT', @LOG_LENGTH)) do
      if #entry[2] == 4 or #entry[2] == 6 then kept[#kept + 1] = entry end
    end
    redis.call('DEL', LOG)
    for i = #kept, 1, -1 do redis.call('XADD', LOG, kept[i][1], unpack(kept[i][2])) end
    local at, n = id_after(kept[1] and kept[1][1] or '0-0')
    return at, n, count_of(kept[1])
  end

  local at, n
  local facts = redis.call('XINFO', 'STREAM', LOG)
  for i = 1, #facts, 2 do
    if facts[i] == 'last-generated-id' then at, n = id_after(facts[i + 1]) end
  end
  if not append_to_log(redis.pcall, at, n, count, pace) then
    at, n, count = rebuild_log()
    append_to_log(redis.call, at, n, count, pace)
  end
  return at, n, count
end

-- -> the id of the first change that was appended: its time, its number
local function write_log()
  local newest = safe_call('XREVRANGE', LOG, '+', '-', 'COUNT', '1')[1]
  local count = count_of(newest)
  local at, n = id_after(newest and newest[1] or '0-0')
  local pace = next_pace(newest)
  if not append_to_log(redis.pcall, at, n, count, pace) then
    at, n, count = append_behind_last_id(count, pace)
  end
  local now_count = count + #new_changes / 2
  if math.floor(count / @LOG_STEP) < math.floor(now_count / @LOG_STEP) then
    -- Entries hold different numbers of changes, so about `length` changes are left, not exactly as many.
    local kept = now_count - count_of(safe_call('XRANGE', LOG, '-', '+', 'COUNT', '1')[1])
    local length = tonumber(safe_call('GET', tag .. 'log_length') or @LOG_LENGTH) or @LOG_LENGTH
    if kept > length or kept < 0 then
      redis.call('XTRIM', LOG, 'MAXLEN', '~', ms(math.floor(redis.call('XLEN', LOG) * length / math.max(kept, length))))
    end
  end
  return at, n
end

-- Publishes new events and changes to the channels that have a subscriber. The channel of a job is named as its hash.
-- at, n: the id of the first change that was appended; nil if there was none.
local function notify(at, n)
  local names, is_named = {}, {}
  for i = 1, #new_events, 3 do
    local name = new_events[i].key
    if not is_named[name] then names[#names + 1], is_named[name] = name, true end
  end
  local of_log = tag .. 'bell'
  if at then names[#names + 1] = of_log end
  -- For each channel with a subscriber, the lines to publish. One PUBSUB NUMSUB for all costs as much as one PUBLISH.
  local messages = {}
  for first = 1, #names, 1000 do
    local counts = redis.call('PUBSUB', 'NUMSUB', unpack(names, first, math.min(first + 999, #names)))
    for i = 1, #counts, 2 do
      if counts[i + 1] > 0 then messages[counts[i]] = {} end
    end
  end
  if not next(messages) then return end
  for i = 1, #new_events, 3 do
    local lines = messages[new_events[i].key]
    if lines then lines[#lines + 1] = new_events[i + 1] .. ' ' .. new_events[i + 2] end
  end
  local lines = messages[of_log]
  for i = 1, lines and #new_changes / 2 or 0 do
    lines[i] = ms(at) .. '-' .. ms(n + i - 1) .. ' ' .. new_changes[i * 2 - 1] .. ' ' .. new_changes[i * 2]
  end
  for name, lines in pairs(messages) do redis.call('PUBLISH', name, table.concat(lines, '\n')) end
end

-- Acknowledges entries of a ready stream and deletes them.
local function delete_entries(name, entries)
  for first = 1, #entries, 1000 do
    local last = math.min(first + 999, #entries)
    redis.pcall('XACK', name, @GROUP, unpack(entries, first, last))
    local reply = redis.pcall('XDEL', name, unpack(entries, first, last))
    if type(reply) == 'table' then
      if is_unusable(reply.err) then
        safe_call('XLEN', name)
      else
        -- One of these is not an id, so no script wrote it. Both commands then refuse all of them. Send one at a time.
        for i = first, last do
          redis.pcall('XACK', name, @GROUP, entries[i])
          redis.pcall('XDEL', name, entries[i])
        end
      end
    end
  end
end

-- Writes what the script has collected. Every script that changes a job calls it once, at its end. -> answer
local function commit(answer)
  for _, job in pairs(loaded) do write_hash(job) end
  for lane, entries in pairs(acknowledged) do
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
  if #new_changes > 0 then notify(write_log()) else notify() end
  return answer
end
