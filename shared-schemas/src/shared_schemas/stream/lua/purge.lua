-- Take jobs off the dead letters.
-- ARGS     ids
-- RETURNS  for each 1 if it was one, else 0
-- WHY      the two lists of dead letters must not be seen apart; the job itself stays as it ended
local answers = {}
for i, id in ipairs(args.ids) do answers[i] = unlist_dead(id) and 1 or 0 end
return answers
