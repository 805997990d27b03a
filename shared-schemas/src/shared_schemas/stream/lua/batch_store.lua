-- Note that more lines of a batch are stored, that all are, or that somebody cancelled it.
-- ARGS     id; lines: how many were read so far, or nil to note nothing of them; blank: how many of these are blank
--          digest: SHA-256 of these lines
--          errors: {{line, JSON}, …} of lines that are no job; models: JSON, the version that each name stands for
--          is_whole, is_cancelled: true, or nil; keep_ms: after the last write, how long the batch is kept
-- RETURNS  {lines, digest or "", models or "", is_whole (0|1), is_cancelled (0|1)}; lines: -1 if there is no such batch
-- WHY      Two requests may send the same batch at once. The one that is behind must not take back what the other noted.
local name, errors = key('batch', args.id), key('batch_errors', args.id)
local stored = redis.call('HGET', name, 'lines')
if not args.lines and not stored then return { -1, '', '', 0, 0 } end

if args.lines then
  for _, error in ipairs(args.errors) do redis.call('HSET', errors, ms(error[1]), error[2]) end
  if not stored or args.lines >= tonumber(stored) then
    redis.call('HSET', name, 'lines', ms(args.lines), 'digest', args.digest, 'models', args.models,
      'blank', ms(args.blank))
    if args.is_whole then redis.call('HSET', name, 'whole', '1') end
  end
  redis.call('HSETNX', name, 'created', NOW)
  -- Ids sort by time, and so do the batches in this set.
  redis.call('ZADD', tag .. 'batches', ms(now + args.keep_ms), args.id)
  redis.call('ZREMRANGEBYSCORE', tag .. 'batches', '-inf', NOW)
end
if args.is_cancelled then redis.call('HSETNX', name, 'cancelled', NOW) end
redis.call('PEXPIRE', name, ms(args.keep_ms))
redis.call('PEXPIRE', errors, ms(args.keep_ms))
local fields = redis.call('HMGET', name, 'lines', 'digest', 'models', 'whole', 'cancelled')
return { tonumber(fields[1]), fields[2], fields[3], fields[4] and 1 or 0, fields[5] and 1 or 0 }
