-- Puts an approval in the place of the one that the caller computed it from. Nothing is done where that is not there any
-- more, or where meanwhile somebody else asked about the same.
--
-- KEYS: 1 approval, 2 sorted set of ids that wait for an answer, by when they expire, and for a new one: 3 the ids about
--       the same subject
-- ARGV: 1 id, 2 record that the caller read ('' for none), 3 new record, 4 its life in ms, 5 when it expires ('' for one
--       that waits no more), and with KEYS[3]: 6 ids that the caller read ('' for none), 7 new ids
-- Answers 1 when it is done.
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[2] then
  return 0
end
if KEYS[3] then
  if (redis.call('GET', KEYS[3]) or '') ~= ARGV[6] then
    return 0
  end
  redis.call('SET', KEYS[3], ARGV[7], 'PX', ARGV[4])
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
if ARGV[5] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
else
  redis.call('ZADD', KEYS[2], ARGV[5], ARGV[1])
end
return 1
