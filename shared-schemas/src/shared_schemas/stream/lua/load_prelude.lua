-- Joined behind prelude.lua: how a job is read, and what becomes of one whose record cannot be worked with.
-- all_states and all_lanes: what there is of either, for scripts that go through them.
local all_states, all_lanes = @STATES, @LANES

-- What tells a sound record from another. Made for the first that a call reads, since many read none: each function and each
-- table that is made costs the call.
local function make_check()
  local find, unpack_parts, decode = string.find, unpack, cmsgpack.unpack
  -- The newest moments that were found sound: jobs of one call share most of theirs.
  local last_created, last_started

  -- A moment, ms, as a text. false or nil: none.
  local function is_moment(value) return not value or value < ':' and value - 0 >= 0 and #value < 16 end

  local function is_mark(value) return not value or value == 1 end

  local function is_text(value) return not value or value >= '' end

  -- What few records have.
  local function has_sound_rest(r)
    return is_moment(r[@DUE]) and is_moment(r[@DEADLINE]) and is_mark(r[@WAITING]) and is_mark(r[@CANCEL])
      and is_mark(r[@PAUSE]) and is_mark(r[@SUSPECT]) and is_text(r[@REPLAY_OF]) and is_text(r[@RETRY_OF])
      and is_text(r[@RETRIED_AS]) and is_mark(r[@LONG])
  end

  -- MessagePack's nil, which no text holds, and a number seldom.
  local function has_gap(packed, record)
    local head, high, low = string.byte(packed, 1, 3)
    for place = 1, head == 0xdc and high * 256 + low or head - 0x90 do
      if record[place] == nil then return true end
    end
    return false
  end

  -- -> the record, with each part of its type; an error for anything else. Lua raises an
  -- error when it compares values of two types. A comparison costs a tenth of a call of `type`, and each job passes here
  -- twice.
  return function(packed)
    local r, more = decode(packed)
    -- In the order of the record; all at once cost a third of one by one.
    local state, lane, home, version, created, ttl, n, attempt, failures, crashes, subject, tags, entry, recorded, beat, fence,
      worker, settled, lease, started, finished, ran_alone = unpack_parts(r, 1, @RAN_ALONE)
    lease = lease or 0
    local sum = ttl + n + attempt + failures + crashes + recorded + beat + lease
    if more == nil and (@STATE_IS_KNOWN) and (@LANE_IS_KNOWN) and (not home or @HOME_IS_KNOWN)
      and (version == @WIRE_VERSION or version >= 1 and version < 1000 and version % 1 == 0)
      and ttl >= 0 and n >= 0 and attempt >= 0 and failures >= 0 and crashes >= 0 and recorded >= 0 and beat >= 0 and lease >= 0
      and sum < @MOST and sum % 1 == 0
      and created and (created == last_created or is_moment(created))
      and subject >= '' and (tags == '' or tags >= '') and (not entry or entry < ':')
      and (not fence or fence >= '') and (not worker or worker >= '') and (not settled or settled >= '')
      and (not started or started == last_started or is_moment(started)) and (not finished or is_moment(finished))
      and (not ran_alone or ran_alone == 1)
      and (r[@DUE] == nil or has_sound_rest(r)) and not (find(packed, '\192', 1, true) and has_gap(packed, r)) then
      last_created, last_started = created, started
      return r
    end
    error('')
  end
end

local check

-- -> the job and its record; nothing where it is not there, or is not as it should be. job.values: the fields of the hash
-- that were named, from 2 on.
local function peek(id, ...)
  local job = loaded[id]
  if job then return job, job.record end
  local name = key('job', id)
  local values = redis.pcall('HMGET', name, 'job', ...)
  check = check or make_check()
  local is_sound, record = pcall(check, values[1])
  if not is_sound then return nil, values[1] end
  return keep(id, name, record, values), record
end

-- Whether a record that does not fit is of a newer version, which has other scripts.
local function is_foreign(packed)
  local is_whole, record = pcall(cmsgpack.unpack, packed)
  local version = is_whole and type(record) == 'table' and record[@VERSION]
  return type(version) == 'number' and version > @WIRE_VERSION and version < 1000 and version % 1 == 0
end

-- Ends a job whose record cannot be worked with, as a dead letter. What had ended before stays as it is, and so does what is
-- not there.
local function bury(id, packed)
  local states, lanes = @STATES, @LANES

  -- -> the number of the newest event, and its name
  local function newest_event(id, name)
    local newest = redis.pcall('XREVRANGE', key('events', id), '+', '-', 'COUNT', 1)
    local entry = not newest.err and newest[1]
    if entry then return math.min(tonumber(string.match(entry[1], '^%d+')), @MOST / 2), entry[2][2], true end
    local short = redis.pcall('HMGET', name, @SHORT_FIELDS)
    for n = @SHORT, 1, -1 do
      if short[n] then return n, string.match(short[n], '^%S+') end
    end
    return 0
  end

  -- Submission, by the first 48 bits of the id.
  local function created_of(id)
    local at = 0
    for digit in string.gmatch(string.sub(id, -26, -17), '.') do
      at = at * 32 + (string.find('0123456789abcdefghjkmnpqrstvwxyz', digit, 1, true) or 1) - 1
    end
    return ms(at)
  end

  -- What can still be read of a record: the least of a new one.
  local function salvaged(id, packed)
    local is_whole, old = pcall(cmsgpack.unpack, packed)
    if not is_whole or type(old) ~= 'table' then old = {} end
    local function kept(place, usual)
      local value = old[place]
      local is_kept = type(value) == type(usual) and (type(value) ~= 'number' or value >= 0 and value < 1e12 and value % 1 == 0)
      return is_kept and value or usual
    end
    local created = kept(@CREATED, '')
    if #created > 15 or not string.find(created, '^%d+$') then created = created_of(id) end
    local lane = lanes[kept(@LANE, '')] and old[@LANE] or 'normal'
    local entry = kept(@ENTRY, '')
    retire(lane, entry)
    return { false, lane, false, @WIRE_VERSION, created, kept(@TTL, @RESULT_TTL), 0, kept(@ATTEMPT, 0), 0, kept(@CRASHES, 0),
      kept(@SUBJECT, ''), kept(@TAGS, ''), false, 0, 0 }
  end

  local name = key('job', id)
  local is_hash = type(redis.pcall('HGET', name, 'spec')) ~= 'table'
  if is_hash and not packed and redis.call('EXISTS', name) == 0 then return end
  local n, newest, is_long = newest_event(id, name)
  if newest == @END then return end
  local ended = @ENDED
  for state in pairs(states) do
    for lane in pairs(lanes) do
      if ended[state] and ask('ZSCORE', tag .. listing(state, lane), id) then return end
      remove(listing(state, lane), id)
    end
  end
  for _, index in ipairs({ 'leases', 'due', 'waiting', 'deadlines' }) do remove(index, id) end
  if not is_hash then redis.call('DEL', name) end
  local job = keep(id, name, salvaged(id, packed), {})
  job.record[@N] = n
  if is_long then set(job, @LONG, 1) end
  -- For whoever wants to know what it was.
  if packed and #packed < 65536 then set_field(job, 'damaged', packed) end
  finish(job, @CORRUPT)
end

-- As peek. What is not as it should be is ended, so that it harms no other; -> nothing, and true: it is of a newer version,
-- and left alone.
local function load(id, ...)
  local job, r = peek(id, ...)
  if job then return job, r end
  if r and is_foreign(r) then return nil, true end
  bury(id, r)
  return nil
end

local function unlist(id)
  for state in pairs(all_states) do
    for lane in pairs(all_lanes) do remove(listing(state, lane), id) end
  end
end

-- Drops a finished job and all that belongs to it. Of one that cannot be read it is not known where it is listed.
local function drop(id)
  local job, r = peek(id)
  if job then remove(listing(r[@STATE], r[@LANE]), id) else unlist(id) end
  for name in string.gmatch(job and r[@TAGS] or '', '%S+') do remove('tagged:' .. name, id) end
  unlist_dead(id)
  remove('expiring', id)
  redis.call('DEL', key('job', id), key('events', id))
end
