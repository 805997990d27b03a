-- Read which versions workers are asked to load.
-- ARGS     an empty map
-- RETURNS  {"token name@version", …}, those that are asked for longest first
-- WHY      The clock of Redis decides what has expired, as it did when the version was asked for.
return redis.call('ZRANGEBYSCORE', tag .. 'wanted', ms(now), '+inf')
