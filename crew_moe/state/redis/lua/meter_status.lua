-- How one meter stands.
--
-- ARGV: 1 name of the meter, 2 now
-- Answers with until when it is busy ('0': it is not), the number of places taken, then name and level of each rate that
-- is not full.
local meter = load(ARGV[1], '', '', tonumber(ARGV[2]))
local ends = busy_until(meter)
local found = {
  ends > meter.at and whole(ends) or '0',
  redis.call('ZCOUNT', meter.places, '(' .. whole(meter.at), '+inf'),
}
for name, bucket in pairs(meter.rates) do
  local debt = debt_at(bucket, meter.at)
  if debt > 0 then
    found[#found + 1] = name
    found[#found + 1] = format('%.17g', bucket[CAPACITY] - debt / bucket[PER])
  end
end
return found
