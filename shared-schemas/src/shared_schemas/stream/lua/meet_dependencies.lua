-- The jobs that these jobs waited for have succeeded.
-- ARGS     ids; due: transition
-- RETURNS  how many became ready
-- WHY      a job that also waits for a time stays scheduled until then
local ready = 0
for _, id in ipairs(args.ids) do
  local job, r = load(id)
  if job or not r then remove('waiting', id) end
  if job and r[@WAITING] then
    set(job, @WAITING, false)
    if allows(args.due, r) then
      if r[@DUE] and tonumber(r[@DUE]) > now then
        -- Promotion may have passed it by before the clock was set back.
        add('due', r[@DUE], id)
      else
        enqueue(job, r[@HOME] or r[@LANE], args.due)
        ready = ready + 1
      end
    end
  end
end
return commit(ready)
