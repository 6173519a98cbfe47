-- Puts a new value in the place of the one that the caller computed it from, and moves the version.
--
-- KEYS: 1 hash of values, 2 version, 3 (if given) the key that counts once
-- ARGV: 1 field, 2 value that the caller read ('' for none), 3 new value,
--       and with KEYS[3]: 4 now, 5 until when keys are forgotten (both as text that sorts by time), 6 its life in ms
-- Answers 'done', 'known' (the key counted before), or 'stale' and the value that is there now.
if KEYS[3] then
  local counted = redis.call('GET', KEYS[3])
  if counted and counted > ARGV[5] then
    return {'known'}
  end
end
local found = redis.call('HGET', KEYS[1], ARGV[1]) or ''
if found ~= ARGV[2] then
  return {'stale', found}
end
if KEYS[3] then
  redis.call('SET', KEYS[3], ARGV[4], 'PX', ARGV[6])
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
if redis.call('INCR', KEYS[2]) == 1 then
  -- A server that lost its data must not count up to a version that somebody has seen.
  local time = redis.call('TIME')
  redis.call('SET', KEYS[2], time[1] .. string.format('%06d', time[2]))
end
return {'done'}
