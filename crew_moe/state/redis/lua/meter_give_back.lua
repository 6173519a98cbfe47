-- Ends a passage: its places are free, its rates carry what was used.
--
-- ARGV: 1 id of the passage, 2 now, 3 JSON of what was used, by rate
local now, used = tonumber(ARGV[2]), cjson.decode(ARGV[3])
local passage = ROOT .. 'passage:' .. ARGV[1]
local record = redis.call('GET', passage)
if not record then
  return
end
redis.call('DEL', passage)
local ends, taken = unpack(cmsgpack.unpack(record))
if ends <= now then
  return
end
for _, part in ipairs(taken) do
  local name, key, kind, rates = unpack(part)
  local meter = load(name, key, kind, now)
  redis.call('ZREM', meter.places, ARGV[1])
  for _, rate in ipairs(rates) do
    local amount = used[rate.name]
    if amount then
      local bucket = meter.rates[rate.name] or fitted(nil, rate, meter.at)
      owe(bucket, amount - rate.amount, meter.at)
      meter.rates[rate.name] = bucket
    end
  end
  save(meter)
end
