-- The meters of one kind that nothing can pass now.
--
-- ARGV: 1 kind, 2 now
-- Answers with key and end in turn.
local now, found = tonumber(ARGV[2]), {}
local busy = ROOT .. 'busy:' .. ARGV[1]
for _, name in ipairs(redis.call('ZRANGEBYSCORE', busy, '(' .. ARGV[2], '+inf')) do
  local record = redis.call('GET', ROOT .. 'meter:' .. name)
  local key, _, at, _, _, ends = unpack(record and cmsgpack.unpack(record) or {})
  if at and at - now > TOLERANCE then
    local meter = load(name, '', '', now)
    at, ends = meter.at, busy_until(meter)
  end
  if at and ends > max(at, now) then
    found[#found + 1] = key
    found[#found + 1] = whole(ends)
  end
end
return found
