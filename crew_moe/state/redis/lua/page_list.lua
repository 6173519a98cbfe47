-- All pages whose names lie in a range, as name, page, name, page, ...
--
-- ARGV: 1 and 2 the range, as ZRANGEBYLEX takes it

local answer = {}
for _, name in ipairs(redis.call('ZRANGEBYLEX', ROOT .. 'names', ARGV[1], ARGV[2])) do
  local page = redis.call('GET', ROOT .. 'one:' .. name)
  if page then
    answer[#answer + 1] = name
    answer[#answer + 1] = page
  end
end
return answer
