-- Make jobs ready whose dependencies have all succeeded.
-- ARGS     ids; due: transition
-- RETURNS  how many became ready
-- WHY      A job that also waits for a time stays scheduled until then.
local ready = 0
for _, id in ipairs(args.ids) do
  local job, parts = load(id)
  if job or not parts then remove('waiting', id) end
  if job and parts[@WAITING] then
    set(job, @WAITING, false)
    if allows(args.due, parts) then
      if parts[@DUE] and tonumber(parts[@DUE]) > now then
        -- If the clock was set back, promote_due may have taken the job out of this index already.
        add('due', parts[@DUE], id)
      else
        enqueue(job, parts[@HOME] or parts[@LANE], args.due)
        ready = ready + 1
      end
    end
  end
end
return commit(ready)
