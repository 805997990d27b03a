-- Drop one finished job and all that belongs to it.
-- ARGS     id; terminal: states {a = true, b = true}
-- RETURNS  {"deleted" | "missing"} | {"refused", state}
-- WHY      a job and its listings must not be seen apart, and only what has ended may go
local function delete()
  local job, r = load(args.id)
  if not job then return { 'missing' } end
  if not args.terminal[r[@STATE]] then return { 'refused', r[@STATE] } end
  drop(args.id)
  return { 'deleted' }
end
return commit(delete())
