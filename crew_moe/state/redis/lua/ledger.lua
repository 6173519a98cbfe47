-- What all scripts of the ledger begin with.
--
-- KEYS: 1 the root. Every key begins with it and so lies in one hash slot. The others are made here: which
--   reservations have lapsed, and so whose money moves, is known only inside Redis.
--     head             epoch, sequence and time of the whole
--     account:<scope>  a scope that was ever limited or charged: its terms and its buckets
--     record:<id>      a reservation or a charge; one that has ended carries a time to live
--     leases           sorted set: ids of what is held, by when it lapses
--     lapsed           sorted set: ids of what lapsed and nobody reported, by when it lapsed
--     scopes           sorted set: every scope with an account, by when it was last looked at
-- ARGV: 1 epoch, 2 sequence and 3 time that the client saw last, 4 its own clock ('' for that of Redis)
-- Answers rows of words; the first one is epoch, sequence, time and a verdict.
--
-- An amount is two numbers side by side, whole US$ and nano-US$ below 1e9: a Lua number is a double and would count
-- nano-US$ exactly only up to nine million US$. Times are microseconds since 1970: exact until 2255.
-- Whatever is written is written by `commit`, after everything was decided.
--
-- Each call runs this text from its top and pays for every function that it passes. So rows are flat, and what most
-- calls do not need stands in functions of its own, inside `seldom`.

-- Constants: names in capitals are replaced by what they stand for before Redis sees the text (ledger_scripts.py).
local NANO = 1e9 -- of a US$
local NONE = 1e12 -- US$, where there is no limit
local MAX_CARRIED = 9e9 -- US$ in one bucket, as in every store
local HOUR = 3600e6
local DAY = 86400e6
local IDLE = 604800e6 -- a week
local UNREPORTED = 2678400e6 -- 31 days
local FINISHED_MS = 86400e3
local BATCH = 200 -- leases that one script ends, so that nobody waits long
local MANY = 1000 -- keys in one command
-- Places in rows; an amount takes two. An account is its terms, then its buckets, each WIDTH places wide.
local EPOCH, SEQUENCE, CLOCK, DUE, RECONCILED, CLOSED = 1, 2, 3, 4, 5, 6
local COUNT, TOUCHED, LIMIT, WINDOW, CEILING, CEILING_WINDOW, TERMS = 1, 2, 3, 5, 6, 8, 8
local PERIOD, OPENED, ENDS, SETTLED, RESERVED, OVERRUN, LAPSED, BLOCKED, WIDTH = 1, 2, 3, 4, 6, 8, 10, 12, 12
local PHASE, AMOUNT, CHARGED, EXCESS, EXPIRES, ORDER, NOTE, PLACES = 1, 2, 4, 6, 8, 9, 10, 11
local HEAD_FORMAT = '<sI8I8I8I8B'
local TERMS_FORMAT = '<BI8I5I4sI5I4s'
local BUCKET_FORMAT = 'sI8I8I5I4I5I4I5I4I5I4B'

local call, format, floor, root = redis.call, string.format, math.floor, KEYS[1]
local head, now
local head_changed = false
local accounts, fresh = {}, {} -- by scope; false for what is not there, and what was not there
local touched, sets, queue = {}, {}, {} -- what `commit` writes: scopes, keys and values, commands
local formats = {} -- of an account's row, by its number of buckets
local seldom

local function add(row, at, whole, nano)
  whole, nano = row[at] + whole, row[at + 1] + nano
  if nano >= NANO then
    whole, nano = whole + 1, nano - NANO
  elseif nano < 0 then
    whole, nano = whole - 1, nano + NANO
  end
  row[at], row[at + 1] = whole, nano
end

-- One amount less another; negative where its whole US$ are.
local function less(whole, nano, other_whole, other_nano)
  if nano < other_nano then
    return whole - other_whole - 1, nano - other_nano + NANO
  end
  return whole - other_whole, nano - other_nano
end

-- All that counts against a limit in the bucket that begins after `at`.
local function carried(row, at)
  local nano = row[at + SETTLED + 1] + row[at + RESERVED + 1] + row[at + OVERRUN + 1]
  local over = floor(nano / NANO)
  return row[at + SETTLED] + row[at + RESERVED] + row[at + OVERRUN] + over, nano - over * NANO
end

local function row_format(buckets)
  formats[buckets] = formats[buckets] or TERMS_FORMAT .. string.rep(BUCKET_FORMAT, buckets)
  return formats[buckets]
end

-- An account, made where there is none; where its open bucket lies, its limit and the window: its own, or else those of
-- the last ceiling. `run` and `total` share a bucket, since neither starts anew.
local function account(scope)
  local row = accounts[scope] or seldom().open_account(scope)
  local term = row[LIMIT] == NONE and row[CEILING] ~= NONE and CEILING or LIMIT
  local window = row[term + 2]
  local period = window == 'run' and 'total' or window
  for at = TERMS, TERMS + (row[COUNT] - 1) * WIDTH, WIDTH do
    if row[at + PERIOD] == period and (row[at + ENDS] == 0 or now < row[at + ENDS]) then
      return row, at, row[term], row[term + 1], window
    end
  end
  return row, seldom().open_bucket(row, period), row[term], row[term + 1], window
end

local function touch(scope)
  accounts[scope][TOUCHED] = now
  touched[scope] = true
end

local function read_record(id)
  local raw = call('GET', root .. 'record:' .. id)
  return raw and cmsgpack.unpack(raw)
end

local function scopes_of(record)
  local scopes = {}
  for i = PLACES, #record, 3 do
    scopes[#scopes + 1] = record[i]
  end
  return scopes
end

-- Moves an amount in every bucket of a record, but for those whose window is over and forgotten. An overrun blocks.
local function move(record, what, whole, nano)
  for i = PLACES, #record, 3 do
    local scope, period, opened = record[i], record[i + 1], record[i + 2]
    local row = accounts[scope]
    for at = TERMS, row and TERMS + (row[COUNT] - 1) * WIDTH or 0, WIDTH do
      if row[at + PERIOD] == period and row[at + OPENED] == opened then
        add(row, at + what, whole, nano)
        row[at + BLOCKED] = what == OVERRUN and 1 or row[at + BLOCKED]
        touch(scope)
      end
    end
  end
end

-- Reads the head and the accounts, looks whether data were lost, and ends leases. `read` are records that the caller
-- has, by id. True: there are more leases to end, so call again.
local function begin(scopes, read)
  local keys = {root .. 'head'}
  for i = 1, #scopes do
    keys[i + 1] = root .. 'account:' .. scopes[i]
  end
  local found = call('MGET', unpack(keys))
  for i = 1, #scopes do
    local raw = found[i + 1]
    accounts[scopes[i]] = raw and {struct.unpack(row_format(raw:byte()), raw)}
  end
  head = found[1] and {struct.unpack(HEAD_FORMAT, found[1])}
  now = tonumber(ARGV[4])
  if not now then
    local time = call('TIME')
    now = time[1] * 1e6 + time[2]
  end
  now = math.max(now, tonumber(ARGV[3]), head and head[CLOCK] or 0)
  if not head or head[EPOCH] ~= ARGV[1] or head[SEQUENCE] < tonumber(ARGV[2]) then
    seldom().check_head()
  end
  return head[DUE] ~= 0 and now >= head[DUE] and seldom().sweep(read)
end

-- Whoever only looked (`looking`) keeps no time.
local function commit(looking)
  local listed = next(fresh) and {}
  for scope in pairs(touched) do
    local row = accounts[scope]
    sets[#sets + 1], sets[#sets + 2] = root .. 'account:' .. scope, struct.pack(row_format(row[COUNT]), unpack(row))
    if fresh[scope] then
      listed[#listed + 1] = scope
    end
  end
  if listed and #listed > 0 then
    seldom().enlist(listed)
  end
  local unchanged = #sets == 0 and #queue == 0 and not head_changed
  if unchanged and (looking or now == head[CLOCK]) then
    return
  end
  head[SEQUENCE], head[CLOCK] = head[SEQUENCE] + 1, now
  sets[#sets + 1], sets[#sets + 2] = root .. 'head', struct.pack(HEAD_FORMAT, unpack(head))
  for from = 1, #sets, MANY do
    call('MSET', unpack(sets, from, math.min(from + MANY - 1, #sets)))
  end
  for i = 1, #queue do
    call(unpack(queue[i]))
  end
end

-- The rows begin at 2.
local function answer(verdict, rows)
  rows[1] = format('%s %d %d %s', head[EPOCH], head[SEQUENCE], now, verdict)
  return table.concat(rows, '\n')
end

-- Leases were ended, and nothing else was done.
local function again()
  commit()
  return answer('again', {})
end

-- Adds how full the limited ones of some scopes are.
local function with_standings(rows, scopes)
  for i = 1, #scopes do
    if accounts[scopes[i]] then
      local row, at, limit, nano, window = account(scopes[i])
      if limit ~= NONE then
        local whole, rest = carried(row, at)
        rows[#rows + 1] = format('%d%09d %d%09d %s %d %d %s', limit, nano, whole, rest, window, row[at + OPENED],
          row[at + ENDS], scopes[i])
      end
    end
  end
  return rows
end

-- What became of a reservation or a charge.
local function outcome(record)
  local scopes = scopes_of(record)
  local rows = {'', format('%s %d%09d %d%09d %d%09d %d', record[PHASE], record[AMOUNT], record[AMOUNT + 1],
    record[CHARGED], record[CHARGED + 1], record[EXCESS], record[EXCESS + 1], #scopes)}
  for i = 1, #scopes do
    rows[i + 2] = scopes[i]
  end
  return answer('ok', with_standings(rows, scopes))
end
