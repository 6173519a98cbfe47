-- Takes down what a provider said of one meter.
--
-- ARGV: 1 name of the meter, 2 its key, 3 its kind, 4 now, 5 JSON [{rate, per_us, capacity, remaining, resets_at}] with
--       -1 for what was not said, 6 until when it is closed as a whole (-1: it is not)
local meter = load(ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]))
for _, told in ipairs(cjson.decode(ARGV[5])) do
  local bucket = meter.rates[told.rate]
  if told.capacity ~= -1 then
    if bucket == nil then
      bucket = {meter.at, told.per_us, told.capacity, -1, 0}
    elseif bucket[CAPACITY] ~= told.capacity then
      bucket = resized(bucket, told.capacity, bucket[PER], bucket[ASKED], meter.at)
    end
    meter.rates[told.rate] = bucket
  end
  if told.remaining ~= -1 and bucket ~= nil then
    local floor = (bucket[CAPACITY] - min(told.remaining, bucket[CAPACITY])) * bucket[PER]
    bucket[DEBT] = max(debt_at(bucket, meter.at), floor)
    bucket[AT] = meter.at
  end
  if told.remaining == 0 and told.resets_at ~= -1 then
    close(meter, told.rate, told.resets_at)
  end
end
if ARGV[6] ~= '-1' then
  close(meter, 'closed', tonumber(ARGV[6]))
end
save(meter)
