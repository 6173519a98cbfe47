-- Takes from all meters of a call, or from none.
--
-- ARGV: 1 JSON {now, lease, id, demands: [{limit (0: any number of places), rates: [{name, capacity, per_us, amount}]}]},
--       then name, key and kind of each demand's meter
-- Answers with nothing, or with the number of the first demand without room, its rate, and when there will be some.
local call = cjson.decode(ARGV[1])

local function hindrance(meter, demand)
  local who, ends
  for name, closed in pairs(meter.closed) do
    if ends == nil or closed > ends or (closed == ends and name > who) then
      who, ends = name, closed
    end
  end
  if ends and ends > meter.at then
    return who, ends
  end
  for _, rate in ipairs(demand.rates) do
    local bucket = meter.rates[rate.name]
    local room = bucket and room_at(fitted(bucket, rate, meter.at), rate.amount) or 0
    if room > meter.at then
      return rate.name, room
    end
  end
  local room = place_at(meter, demand.limit, meter.at)
  if room > meter.at then
    return 'concurrent', room
  end
end

local meters, taken = {}, {}
for i, demand in ipairs(call.demands) do
  meters[i] = load(ARGV[3 * i - 1], ARGV[3 * i], ARGV[3 * i + 1], call.now)
end
for i, demand in ipairs(call.demands) do
  local rate, ends = hindrance(meters[i], demand)
  if rate then
    return {i, rate, whole(ends)}
  end
end
for i, demand in ipairs(call.demands) do
  local meter = meters[i]
  for _, rate in ipairs(demand.rates) do
    local bucket = fitted(meter.rates[rate.name], rate, meter.at)
    owe(bucket, rate.amount, meter.at)
    meter.rates[rate.name] = bucket
  end
  meter.limit = demand.limit
  if meter.limit > 0 then
    redis.call('ZREMRANGEBYSCORE', meter.places, '-inf', whole(meter.at))
    redis.call('ZADD', meter.places, whole(meter.at + call.lease), call.id)
  end
  save(meter)
  taken[i] = {meter.name, meter.key, meter.kind, demand.rates}
end
local passage = ROOT .. 'passage:' .. call.id
local ends = call.now + call.lease
redis.call('SET', passage, cmsgpack.pack({ends, taken}), 'PX', life_ms(ends, call.now))
