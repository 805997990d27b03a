-- Read one page of job summaries, newest first.
-- ARGS     sets: names of the zsets to merge; before: an id or ""; limit; states: {a = true, b = true}, empty for all
--          states
--          fields: of the hash, `job` first; looks: the script reads at most so many jobs
-- RETURNS  {{{id, value of each field, …, state}, …}, `before` of the next page or ""}
-- WHY      The page is one snapshot: a job that changes its state is neither missing nor there twice.
local function head_of(name, before)
  local from = before == '' and '+' or '(' .. before
  return { name = name, at = 1, ids = safe_call('ZREVRANGEBYLEX', tag .. name, from, '-', 'LIMIT', 0, args.limit) }
end

local heads, page, looked, last = {}, {}, 0, ''
for i, name in ipairs(args.sets) do heads[i] = head_of(name, args.before) end

local function newest()
  local best
  for i, head in ipairs(heads) do
    if head.at > #head.ids and #head.ids == args.limit then
      head = head_of(head.name, head.ids[#head.ids])
      heads[i] = head
    end
    local id = head.ids[head.at]
    if id and (not best or id > best.ids[best.at]) then best = head end
  end
  return best
end

-- The first part of a job, its state, read without unpacking the others. In MessagePack, an array of up to 15 values
-- begins with one byte, a longer one with three, and a short text with one byte that has its length.
local function state_of(packed)
  local first = packed and #packed > 4 and (string.byte(packed) == 0xdc and 4 or 2)
  local state = first and string.sub(packed, first + 1, first + string.byte(packed, first) - 0xa0)
  return all_states[state] and state
end

-- The state of the listing that has the job, for a job whose own state cannot be read. nil: there is no such job.
local function listed_state_of(id)
  if redis.call('EXISTS', key('job', id)) == 0 then return nil end
  for state in pairs(all_states) do
    for lane in pairs(all_lanes) do
      if safe_call('ZSCORE', tag .. listing(state, lane), id) then return state end
    end
  end
end

while #page < args.limit and looked < args.looks do
  local head = newest()
  if not head then return { page, '' } end
  local id = head.ids[head.at]
  head.at = head.at + 1
  looked = looked + 1
  -- Skip members that are not job ids: no script added them.
  if #id > 26 and not string.find(id, '[^%l%d.-]') then
    last = id
    local row = redis.pcall('HMGET', key('job', id), unpack(args.fields))
    if row.err then row = { false, false, false } end
    local state = state_of(row[1]) or listed_state_of(id)
    if state and (args.states[state] or not next(args.states)) then
      table.insert(row, 1, id)
      row[#args.fields + 2] = state
      page[#page + 1] = row
    end
  end
end
return { page, newest() and last or '' }
