-- Common to all scripts of meters; each script is this text with its own after it.
--
-- KEYS[1] is the root. Every key that is touched begins with it, so that all of them lie in one hash slot:
--   meter:<name>    cmsgpack {key, kind, at, limit, forget_at, busy_until, rates, closed}
--   places:<name>   sorted set: passages that hold a place, by when their lease ends
--   busy:<kind>     sorted set: names of meters that had no room when they were last changed, by when they will have
--   passage:<id>    cmsgpack {ends, taken}
-- The arithmetic is that of crew_moe.state.bucket and crew_moe.state.meter, line by line: moments are microseconds since
-- 1970, exact in a double until 2255. ASKED is -1 where no demand has named a capacity.
-- Keys live a while longer than they mean anything, by the server's clock: callers bring their own.

local ceil, max, min, format = math.ceil, math.max, math.min, string.format
local ROOT = KEYS[1]
local SECOND, DAY = 1e6, 86400e6
local TOLERANCE, KEEP, MAX_DEBT = 300 * SECOND, 3600 * SECOND, 366 * DAY
local AT, PER, CAPACITY, ASKED, DEBT = 1, 2, 3, 4, 5 -- of a bucket

local function whole(number)
  return format('%.0f', number)
end

local function debt_at(bucket, now)
  return max(0, bucket[DEBT] - (now - bucket[AT]) * bucket[CAPACITY])
end

local function room_at(bucket, amount)
  local bearable = (bucket[CAPACITY] - min(amount, bucket[CAPACITY])) * bucket[PER]
  if bucket[DEBT] <= bearable then
    return bucket[AT]
  end
  local wait = ceil((bucket[DEBT] - bearable) / bucket[CAPACITY])
  while bucket[DEBT] - wait * bucket[CAPACITY] > bearable do
    wait = wait + 1
  end
  return bucket[AT] + wait
end

local function owe(bucket, amount, now)
  bucket[DEBT] = min(debt_at(bucket, now) + amount * bucket[PER], bucket[CAPACITY] * MAX_DEBT)
  bucket[AT] = now
end

local function resized(bucket, capacity, per, asked, now)
  local debt = debt_at(bucket, now)
  if per ~= bucket[PER] then
    debt = debt / bucket[PER] * per
  end
  return {now, per, capacity, asked, min(debt, capacity * per)}
end

local function fitted(bucket, rate, now)
  if bucket == nil then
    return {now, rate.per_us, rate.capacity, rate.capacity, 0}
  end
  if rate.capacity == bucket[ASKED] and rate.per_us == bucket[PER] then
    return bucket
  end
  local kept = bucket[ASKED] == -1 or rate.capacity == bucket[ASKED]
  return resized(bucket, kept and bucket[CAPACITY] or rate.capacity, rate.per_us, rate.capacity, now)
end

local function moved(meter, by)
  for _, bucket in pairs(meter.rates) do
    bucket[AT] = bucket[AT] + by
  end
  for name, ends in pairs(meter.closed) do
    meter.closed[name] = ends + by
  end
  for _, passage in ipairs(redis.call('ZRANGE', meter.places, 0, -1)) do
    redis.call('ZINCRBY', meter.places, whole(by), passage)
  end
end

local function place_at(meter, limit, now)
  local taken = limit > 0 and redis.call('ZCARD', meter.places) or 0
  if limit == 0 or taken < limit then
    return now
  end
  return tonumber(redis.call('ZRANGE', meter.places, taken - limit, taken - limit, 'WITHSCORES')[2])
end

local function busy_until(meter)
  local ends = max(0, place_at(meter, meter.limit, 0))
  for _, bucket in pairs(meter.rates) do
    ends = max(ends, room_at(bucket, 1))
  end
  for _, closed in pairs(meter.closed) do
    ends = max(ends, closed)
  end
  return ends
end

local function forget_at(meter)
  local ends, told = meter.at, false
  for _, bucket in pairs(meter.rates) do
    ends = max(ends, room_at(bucket, bucket[CAPACITY]))
    told = told or bucket[CAPACITY] ~= bucket[ASKED]
  end
  for _, closed in pairs(meter.closed) do
    ends = max(ends, closed)
  end
  local last = redis.call('ZRANGE', meter.places, -1, -1, 'WITHSCORES')[2]
  return max(ends, tonumber(last or 0)) + (told and DAY or TOLERANCE)
end

-- A key's life by the server's clock: what is left of it by the caller's, and some more in case that one is wrong.
local function life_ms(ends, now)
  return whole(ceil((ends - now + KEEP) / 1000))
end

local function lives_until(key, ends, now)
  local life = life_ms(ends, now)
  if redis.call('PTTL', key) < tonumber(life) then
    redis.call('PEXPIRE', key, life)
  end
end

local function close(meter, name, ends)
  for who, other in pairs(meter.closed) do
    if other <= meter.at then
      meter.closed[who] = nil
    end
  end
  ends = max(meter.closed[name] or 0, min(ends, meter.at + DAY))
  if ends > meter.at then
    meter.closed[name] = ends
  end
end

local function save(meter)
  local record, busy = ROOT .. 'meter:' .. meter.name, ROOT .. 'busy:' .. meter.kind
  local forgotten, ends = forget_at(meter), busy_until(meter)
  local fields = {meter.key, meter.kind, meter.at, meter.limit, forgotten, ends, meter.rates, meter.closed}
  redis.call('SET', record, cmsgpack.pack(fields), 'PX', life_ms(forgotten, meter.at))
  if meter.limit > 0 then
    lives_until(meter.places, forgotten, meter.at)
  end
  if ends > meter.at then
    redis.call('ZADD', busy, whole(ends), meter.name)
    redis.call('ZREMRANGEBYSCORE', busy, '-inf', whole(meter.at - KEEP))
    lives_until(busy, forgotten, meter.at)
  elseif meter.was_busy then
    redis.call('ZREM', busy, meter.name)
  end
end

-- The meter of that name, at its own time: `now`, but never back. What a wrong clock left behind is moved along.
local function load(name, key, kind, now)
  local meter = {name = name, key = key, kind = kind, at = now, limit = 0, rates = {}, closed = {}}
  meter.places = ROOT .. 'places:' .. name
  local record = redis.call('GET', ROOT .. 'meter:' .. name)
  if record then
    local its_key, its_kind, at, limit, forgotten, ends, rates, closed = unpack(cmsgpack.unpack(record))
    meter.was_busy = ends > at
    if forgotten > now then
      meter.key, meter.kind, meter.limit, meter.rates, meter.closed = its_key, its_kind, limit, rates, closed
      meter.at = at - now > TOLERANCE and now or max(at, now)
      if at > meter.at then
        moved(meter, now - at)
        save(meter)
      end
    end
  end
  return meter
end
