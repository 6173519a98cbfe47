-- Appends events to the live feed under numbers without holes, and forgets about the oldest ones that are too many.
--
-- KEYS: 1 stream of events, 2 hash of the epoch and the last number
-- ARGV: 1 events to keep, then of each event: kind, owner, body
-- Returns the cursor of the last event; without events it makes nothing but the epoch.
local place = redis.call('HMGET', KEYS[2], 'epoch', 'number')
local epoch, number = place[1], tonumber(place[2] or '0')
if not epoch then
  local time = redis.call('TIME')
  epoch = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
  redis.call('HSET', KEYS[2], 'epoch', epoch)
end

for first = 2, #ARGV, 3 do
  number = number + 1
  local id = string.format('%s-%.0f', epoch, number)
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], id, 'kind', ARGV[first], 'owner', ARGV[first + 1], 'body', ARGV[first + 2])
end
redis.call('HSET', KEYS[2], 'number', string.format('%.0f', number))
return string.format('%s-%.0f', epoch, number)
