-- The linker puts these declarations behind those of prelude.lua. They read stored jobs, check them, and fail those
-- that are damaged.
-- all_states and all_lanes: every name, for scripts that go through all of them.
local all_states, all_lanes = @STATES, @LANES

-- -> the function that checks a stored job. A call makes it for the first job that it reads. Many calls read none, and
-- each function and each table that a call makes costs it time.
local function new_check()
  local find, unpack_parts, decode = string.find, unpack, cmsgpack.unpack
  -- The newest times that passed the check: most jobs of one call have the same.
  local last_created, last_started

  -- A time in ms as text; false or nil is no value.
  local function is_time(value) return not value or value < ':' and value - 0 >= 0 and #value < 16 end

  local function is_flag(value) return not value or value == 1 end

  local function is_text(value) return not value or value >= '' end

  -- The parts that few jobs have.
  local function has_valid_rest(parts)
    return is_time(parts[@DUE]) and is_time(parts[@DEADLINE]) and is_flag(parts[@WAITING]) and is_flag(parts[@CANCEL])
      and is_flag(parts[@PAUSE]) and is_flag(parts[@SUSPECT]) and is_text(parts[@REPLAY_OF])
      and is_text(parts[@RETRY_OF]) and is_text(parts[@RETRIED_AS]) and is_flag(parts[@LONG])
  end

  -- Whether a place of the array holds the nil of MessagePack. Its byte is 192, which no UTF-8 text contains, and
  -- numbers rarely do.
  local function has_gap(packed, parts)
    local head, high, low = string.byte(packed, 1, 3)
    for place = 1, head == 0xdc and high * 256 + low or head - 0x90 do
      if parts[place] == nil then return true end
    end
    return false
  end

  -- -> the parts, each of its type; raises an error for anything else. Lua itself raises an error when it compares
  -- values of two types. A comparison costs a tenth of a call of `type`, and a job is checked at its claim and at its
  -- end.
  return function(packed)
    local parts, more = decode(packed)
    -- The names are in the order of the parts. One unpack of all parts costs a third of a lookup for each part.
    local state, lane, home, version, created, ttl, n, attempt, failures, crashes, subject, tags, entry, recorded, beat,
      fence, worker, settled, lease, started, finished, ran_alone = unpack_parts(parts, 1, @RAN_ALONE)
    lease = lease or 0
    local sum = ttl + n + attempt + failures + crashes + recorded + beat + lease
    if more == nil and (@STATE_IS_KNOWN) and (@LANE_IS_KNOWN) and (not home or @HOME_IS_KNOWN)
      and (version == @WIRE_VERSION or version >= 1 and version < 1000 and version % 1 == 0)
      and ttl >= 0 and n >= 0 and attempt >= 0 and failures >= 0 and crashes >= 0 and recorded >= 0 and beat >= 0
      and lease >= 0
      and sum < @MOST and sum % 1 == 0
      and created and (created == last_created or is_time(created))
      and subject >= '' and (tags == '' or tags >= '') and (not entry or entry < ':')
      and (not fence or fence >= '') and (not worker or worker >= '') and (not settled or settled >= '')
      and (not started or started == last_started or is_time(started)) and (not finished or is_time(finished))
      and (not ran_alone or ran_alone == 1)
      and (parts[@DUE] == nil or has_valid_rest(parts))
      and not (find(packed, '\192', 1, true) and has_gap(packed, parts)) then
      last_created, last_started = created, started
      return parts
    end
    error('')
  end
end

local check

-- -> the job and its parts; for a job that does not exist or is damaged, nil and what the field `job` holds.
-- job.values: of the named fields of the hash, from place 2 on.
local function peek(id, ...)
  local job = loaded[id]
  if job then return job, job.parts end
  local name = key('job', id)
  local values = redis.pcall('HMGET', name, 'job', ...)
  check = check or new_check()
  local is_valid, parts = pcall(check, values[1])
  if not is_valid then return nil, values[1] end
  return track(id, name, parts, values), parts
end

-- Whether a stored job that fails the check is of a newer version, which has other scripts.
local function is_newer(packed)
  local is_whole, parts = pcall(cmsgpack.unpack, packed)
  local version = is_whole and type(parts) == 'table' and parts[@VERSION]
  return type(version) == 'number' and version > @WIRE_VERSION and version < 1000 and version % 1 == 0
end

-- Fails a damaged job with `corrupt_record`, as a dead letter. Changes nothing if the job had ended or does not exist.
local function fail_corrupt(id, packed)
  local states, lanes = @STATES, @LANES

  -- -> the number of the newest event, its name, and whether the timeline is in its stream
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

  -- The time of submission, ms: the first 48 bits of the ULID.
  local function created_of(id)
    local at = 0
    for digit in string.gmatch(string.sub(id, -26, -17), '.') do
      at = at * 32 + (string.find('0123456789abcdefghjkmnpqrstvwxyz', digit, 1, true) or 1) - 1
    end
    return ms(at)
  end

  -- -> the parts that every job has, with each value that can still be read
  local function readable_parts(id, packed)
    local is_whole, old = pcall(cmsgpack.unpack, packed)
    if not is_whole or type(old) ~= 'table' then old = {} end
    local function kept(place, usual)
      local value = old[place]
      local is_kept = type(value) == type(usual)
        and (type(value) ~= 'number' or value >= 0 and value < 1e12 and value % 1 == 0)
      return is_kept and value or usual
    end
    local created = kept(@CREATED, '')
    if #created > 15 or not string.find(created, '^%d+$') then created = created_of(id) end
    local lane = lanes[kept(@LANE, '')] and old[@LANE] or 'normal'
    local entry = kept(@ENTRY, '')
    acknowledge(lane, entry)
    return { false, lane, false, @WIRE_VERSION, created, kept(@TTL, @RESULT_TTL), 0, kept(@ATTEMPT, 0), 0,
      kept(@CRASHES, 0), kept(@SUBJECT, ''), kept(@TAGS, ''), false, 0, 0 }
  end

  local name = key('job', id)
  local is_hash = type(redis.pcall('HGET', name, 'spec')) ~= 'table'
  if is_hash and not packed and redis.call('EXISTS', name) == 0 then return end
  local n, newest, is_long = newest_event(id, name)
  if newest == @END then return end
  local ended = @ENDED
  for state in pairs(states) do
    for lane in pairs(lanes) do
      if ended[state] and safe_call('ZSCORE', tag .. listing(state, lane), id) then return end
      remove(listing(state, lane), id)
    end
  end
  for _, index in ipairs({ 'leases', 'due', 'waiting', 'deadlines' }) do remove(index, id) end
  if not is_hash then redis.call('DEL', name) end
  local job = track(id, name, readable_parts(id, packed), {})
  job.parts[@N] = n
  if is_long then set(job, @LONG, 1) end
  -- For a person who looks for the cause.
  if packed and #packed < 65536 then set_field(job, 'damaged', packed) end
  finish(job, @CORRUPT)
end

-- As peek, but fails a damaged job, so that it does not block others. -> nil and true for a job of a newer version,
-- which is left alone; nil for a job that does not exist or was damaged
local function load(id, ...)
  local job, parts = peek(id, ...)
  if job then return job, parts end
  if parts and is_newer(parts) then return nil, true end
  fail_corrupt(id, parts)
  return nil
end

local function unlist(id)
  for state in pairs(all_states) do
    for lane in pairs(all_lanes) do remove(listing(state, lane), id) end
  end
end

-- Deletes a finished job and all that belongs to it. A job that cannot be read may be in any listing.
local function drop(id)
  local job, parts = peek(id)
  if job then remove(listing(parts[@STATE], parts[@LANE]), id) else unlist(id) end
  for name in string.gmatch(job and parts[@TAGS] or '', '%S+') do remove('tagged:' .. name, id) end
  unlist_dead(id)
  remove('expiring', id)
  redis.call('DEL', key('job', id), key('events', id))
end
