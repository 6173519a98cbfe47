-- Forgets all pages whose names lie in a range; answers how many there were.
--
-- ARGV: 1 and 2 the range, as ZRANGEBYLEX takes it

local gone = 0
for _, name in ipairs(redis.call('ZRANGEBYLEX', ROOT .. 'names', ARGV[1], ARGV[2])) do
  gone = gone + forget(name)
end
if gone > 0 then
  changed()
end
return gone
