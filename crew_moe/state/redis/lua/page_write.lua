-- Puts a page in the place of the one that the caller read; those whose time is over go in passing.
--
-- ARGV: 1 name, 2 version of the page that the caller read (0 for none), 3 content, 4 now, 5 when the page ends ('never'
--       for one that does not), 6 its life in ms
-- Answers 1 when it is done, 0 where another page is there.

for _, name in ipairs(redis.call('ZRANGEBYSCORE', ROOT .. 'ends', '-inf', ARGV[4], 'LIMIT', 0, 100)) do
  forget(name)
end
local key = ROOT .. 'one:' .. ARGV[1]
local found = redis.call('GET', key) or '0 never '
local version, ends = string.match(found, '^(%d+) (%w+) ')
if ends ~= 'never' and tonumber(ends) <= tonumber(ARGV[4]) then
  version = '0'
end
if version ~= ARGV[2] then
  return 0
end
local page = changed() .. ' ' .. ARGV[5] .. ' ' .. ARGV[3]
redis.call('ZADD', ROOT .. 'names', 0, ARGV[1])
if ARGV[5] == 'never' then
  redis.call('SET', key, page)
  redis.call('ZREM', ROOT .. 'ends', ARGV[1])
else
  redis.call('SET', key, page, 'PX', ARGV[6])
  redis.call('ZADD', ROOT .. 'ends', ARGV[5], ARGV[1])
end
return 1
