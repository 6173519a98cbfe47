-- Appends rows to the log, each once, and forgets the oldest rows that are too many or too large together.
--
-- KEYS: 1 stream of rows, 2 hash of stream ids by decision id, 3 hash of the last sequence by writer, 4 bytes of rows
-- ARGV: 1 rows to keep, 2 bytes to keep, then of each row: schema version, writer, sequence, previous hash,
--       decision id, row, hash; rows of one writer in their order
local names = {'schema_version', 'writer', 'sequence', 'previous', 'decision_id', 'row', 'hash'}
local width = #names
local bytes = tonumber(redis.call('GET', KEYS[4]) or '0')

for first = 3, #ARGV, width do
  local writer, sequence, decision_id = ARGV[first + 1], ARGV[first + 2], ARGV[first + 4]
  local last = tonumber(redis.call('HGET', KEYS[3], writer) or '0')
  if tonumber(sequence) > last then -- else its answer was lost, and it comes a second time
    local fields = {}
    for i = 1, width do
      fields[2 * i - 1], fields[2 * i] = names[i], ARGV[first + i - 1]
    end
    local id = redis.call('XADD', KEYS[1], '*', unpack(fields))
    redis.call('HSET', KEYS[3], writer, sequence)
    if decision_id ~= '' then
      redis.call('HSET', KEYS[2], decision_id, id)
    end
    bytes = bytes + #ARGV[first + 5]
  end
end

local count = redis.call('XLEN', KEYS[1])
local keep, room = tonumber(ARGV[1]), tonumber(ARGV[2])
while count > 1 and (count > keep or bytes > room) do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local id, row = oldest[1], {}
  for i = 1, #oldest[2], 2 do
    row[oldest[2][i]] = oldest[2][i + 1]
  end
  if redis.call('HGET', KEYS[2], row.decision_id) == id then -- not when a later row has the same decision id
    redis.call('HDEL', KEYS[2], row.decision_id)
  end
  if redis.call('HGET', KEYS[3], row.writer) == row.sequence then -- its writer's last row
    redis.call('HDEL', KEYS[3], row.writer)
  end
  redis.call('XDEL', KEYS[1], id)
  count, bytes = count - 1, bytes - #row.row
end
redis.call('SET', KEYS[4], bytes)
return count
