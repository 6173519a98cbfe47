-- Accounts taken apart into tables; the first half of `books`.

local own = {rows = {}} -- accounts by key
local head, now
local head_changed = false
local changed, fresh = {}, {} -- keys of accounts
local sets, queue = {}, {} -- what `commit` writes beside them: keys and values, commands

-- The first day of the month of a day, both since 1970 (H. Hinnant, days_from_civil and back).
local function first_of_month(day)
  local of_era = (day + 719468) % 146097 -- since 1 March of a year that 400 divides
  local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
  local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
  return day - (of_year - floor((153 * floor((5 * of_year + 2) / 153) + 2) / 5))
end

-- When the window that `now` lies in opened, and when it ends; 0: never.
local function span(period)
  if period == IN_TOTAL then
    return now, 0
  elseif period == PER_MONTH then
    local first = first_of_month(floor(now / DAY))
    return first * DAY, first_of_month(first + 31) * DAY
  end
  local length = period == PER_DAY and DAY or DAY / 24
  local opened = floor(now / length) * length
  return opened, opened + length
end

local function open_bucket(period)
  local opened, ends = span(period)
  return {period = period, opened = opened, ends = ends, blocked = 0, settled = 0, settled_nano = 0, reserved = 0,
    reserved_nano = 0, overrun = 0, overrun_nano = 0, lapsed = 0, lapsed_nano = 0}
end

local function has_ended(bucket)
  return bucket.ends ~= 0 and now >= bucket.ends
end

-- What limits an account, its own limit or else the last ceiling; and its window.
function own.limit_of(row)
  if row.limit == NONE and row.ceiling ~= NONE then
    return row.ceiling, row.ceiling_nano, row.ceiling_window
  end
  return row.limit, row.limit_nano, row.window
end

-- Brings the bucket that the terms are about to the front; `run` and `total` share one, since neither starts anew.
local function turn(row)
  local _, _, window = own.limit_of(row)
  local period = window == PER_RUN and IN_TOTAL or window
  local at = 1
  while row[at] and row[at].period ~= period do
    at = at + 1
  end
  if not row[at] or has_ended(row[at]) then
    row[at] = open_bucket(period)
  end
  row[1], row[at] = row[at], row[1]
end

-- An account as nobody knows it yet: not limited, and empty.
local function blank()
  return {limit = NONE, limit_nano = 0, window = IN_TOTAL, ceiling = NONE, ceiling_nano = 0, ceiling_window = IN_TOTAL,
    touched = now, open_bucket(IN_TOTAL)}
end

local function unpack_row(raw)
  local row, one = {}, {}
  local _, count, at -- what holds at present is told apart by `own.limit_of`
  row.touched, one.reserved, one.reserved_nano, one.settled, one.settled_nano, one.ends, _, _, one.overrun,
    one.overrun_nano, one.blocked, _, one.period, one.opened, one.lapsed, one.lapsed_nano,
    row.limit, row.limit_nano, row.window, row.ceiling, row.ceiling_nano, row.ceiling_window, count, at =
    take(ACCOUNT_FORMAT, raw)
  row[1] = one
  for i = 2, count do
    local other = {}
    other.reserved, other.reserved_nano, other.settled, other.settled_nano, other.ends, other.overrun,
      other.overrun_nano, other.blocked, other.period, other.opened, other.lapsed, other.lapsed_nano, at =
      take(BUCKET_FORMAT, raw, at)
    row[i] = other
  end
  if has_ended(one) then
    turn(row)
  end
  return row
end

local function pack_row(row)
  local limit, limit_nano, window = own.limit_of(row)
  local one = row[1]
  local parts = {pack(ACCOUNT_FORMAT, row.touched, one.reserved, one.reserved_nano, one.settled, one.settled_nano,
    one.ends, limit, limit_nano, one.overrun, one.overrun_nano, one.blocked, window, one.period, one.opened, one.lapsed,
     one.lapsed_nano, row.limit, row.limit_nano, row.window, row.ceiling, row.ceiling_nano,
    row.ceiling_window, #row)}
  for i = 2, #row do
    local other = row[i]
    parts[i] = pack(BUCKET_FORMAT, other.reserved, other.reserved_nano, other.settled, other.settled_nano, other.ends,
      other.overrun, other.overrun_nano, other.blocked, other.period, other.opened, other.lapsed, other.lapsed_nano)
  end
  return concat(parts)
end

function own.add(bucket, what, whole, nano)
  nano = bucket[what .. '_nano'] + nano
  local over = floor(nano / NANO)
  bucket[what], bucket[what .. '_nano'] = bucket[what] + whole + over, nano - over * NANO
end

-- One amount less another; negative where its whole US$ are.
function own.less(whole, nano, other, other_nano)
  local rest = nano - other_nano
  local over = floor(rest / NANO)
  return whole - other + over, rest - over * NANO
end

-- What a bucket may carry on, up to a limit; negative where its whole US$ are.
local function room(bucket, limit, limit_nano)
  return own.less(limit, limit_nano, bucket.settled + bucket.reserved + bucket.overrun,
    bucket.settled_nano + bucket.reserved_nano + bucket.overrun_nano)
end

-- What an account has left, and whether that is by a limit.
function own.room(row)
  local limit, limit_nano = own.limit_of(row)
  local limited = limit ~= NONE
  local whole, nano = room(row[1], limited and limit or MAX_CARRIED, limited and limit_nano or 0)
  return whole, nano, limited
end

-- Whether a bucket would carry too much with an amount more.
function own.too_much(bucket, whole, nano)
  local left, rest = room(bucket, MAX_CARRIED, 0)
  return own.less(left, rest, whole, nano) < 0
end

function own.touch(key)
  local row = own.rows[key]
  changed[#changed + 1] = not row.changed and key or nil
  row.touched, row.changed = now, true
end

-- Gives an account a limit of its own, or a ceiling; opens it where it is new. The window stays where none is named.
function own.agree(key, term, whole, nano, window)
  if not own.rows[key] then
    own.rows[key], fresh[#fresh + 1] = blank(), key
  end
  local row, named = own.rows[key], term == 'limit' and 'window' or 'ceiling_window'
  row[term], row[term .. '_nano'], row[named] = whole, nano, window or row[named]
  turn(row)
  own.touch(key)
end

-- Puts the accounts of a call in order: opens new ones, and takes the ceilings that it brought ('' for none).
function own.agree_all(ceilings)
  for i = 2, #KEYS do
    local row, whole, nano, window = own.rows[KEYS[i]], NONE, 0, NO_CEILING
    if ceilings ~= '' then
      whole, nano, window = take(CEILING_FORMAT, ceilings, CEILING_SIZE * (i - 2) + 1)
    end
    if window ~= NO_CEILING then
      own.agree(KEYS[i], 'ceiling', whole, nano, window)
    elseif not row then
      own.agree(KEYS[i], 'ceiling', NONE, 0, IN_TOTAL)
    end
    own.touch(KEYS[i])
  end
end

-- Reads those accounts that were not read yet; keys as `keys_of` makes them.
function own.fetch(keys)
  for from = 2, #keys, MANY do
    for i, raw in ipairs(call('MGET', unpack(keys, from, math.min(from + MANY - 1, #keys)))) do
      local key = keys[from + i - 1]
      own.rows[key] = own.rows[key] or raw and unpack_row(raw) or nil
    end
  end
end

-- The keys of the head and of accounts.
function own.keys_of(scopes)
  local keys = {KEYS[1]}
  for i, scope in ipairs(scopes) do
    keys[i + 1] = root .. 'account:' .. scope
  end
  return keys
end
