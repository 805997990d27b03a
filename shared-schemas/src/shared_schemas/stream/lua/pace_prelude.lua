-- The linker puts these declarations behind those of prelude.lua. They read the pace of the queue, which each entry of
-- the log has in its field `pace`. commit_prelude.lua writes it and says what it means.

-- -> ended, until, busy, since, as numbers; nil for a text that no script wrote
local function pace_of(pace)
  local ended, till, busy, since = string.match(pace, '^(%d+) (%d+) (%d+) (%d+)$')
  if not ended or #ended > 15 or #till > 15 or #busy > 15 or #since > 15 then return nil end
  return tonumber(ended), tonumber(till), tonumber(busy), tonumber(since)
end

-- How fast the queue drains while no slot of its workers is free. Uses the shortest of some spans of time in which
-- enough attempts ended.
-- -> attempts that ended; in how many ms; for how many ms the queue has been busy since the last end, -1 if it is not
local function measure_pace()
  local function pace_in(entry)
    local text = entry and entry[2][5] == 'pace' and entry[2][6]
    if text then return pace_of(text) end
  end

  local ended, till, busy, since = pace_in(safe_call('XREVRANGE', tag .. 'log', '+', '-', 'COUNT', 1)[1])
  if not ended then return 0, 0, -1 end
  local n, took = 0, 0
  for _, span in ipairs({ 500, 3000, 20000, 180000, 3600000, 86400000 }) do
    local first = safe_call('XRANGE', tag .. 'log', ms(math.max(0, now - span)), '+', 'COUNT', 1)[1]
    local first_ended, first_till = pace_in(first)
    -- An entry of an older version has no pace. The first one that follows begins at 0.
    first_ended, first_till = first_ended or 0, first_till or 0
    if ended >= first_ended and till >= first_till then n, took = ended - first_ended, till - first_till end
    if n >= @PACE_ENDS then break end
  end
  return n, took, since > 0 and busy + math.max(0, now - since) - till or -1
end
