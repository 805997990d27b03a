-- Take jobs off the lists of dead letters.
-- ARGS     ids
-- RETURNS  for each id 1 if it was a dead letter, else 0
-- WHY      A dead letter is in two lists, and leaves both in one step. The job itself does not change.
local answers = {}
for i, id in ipairs(args.ids) do answers[i] = unlist_dead(id) and 1 or 0 end
return answers
