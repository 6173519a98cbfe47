-- Records and leases, and the way of a script through the ledger; the second half of `books`.

-- A record, with the keys of the head and of its accounts.
function own.read_record(key)
  local raw = call('GET', key)
  if not raw then
    return nil
  end
  local record = {rest = raw:sub(RECORD_SIZE + 1), keys = {KEYS[1]}}
  local count
  record.phase, count, record.amount, record.amount_nano, record.charged, record.charged_nano, record.excess,
    record.excess_nano, record.expires, record.order = take(RECORD_FORMAT, raw)
  for scope in record.rest:sub(PLACE_SIZE * count + 1):gmatch('([^\n]+)\n') do
    record.keys[#record.keys + 1] = root .. 'account:' .. scope
  end
  return record
end

function own.pack_record(record)
  return pack(RECORD_FORMAT, record.phase, #record.keys - 1, record.amount, record.amount_nano, record.charged,
    record.charged_nano, record.excess, record.excess_nano, record.expires, record.order) .. record.rest
end

-- Moves an amount in every bucket of a record, but for those whose window is over. An overrun blocks.
function own.move(record, what, whole, nano)
  for i = 2, #record.keys do
    local period, opened = take(PLACE_FORMAT, record.rest, PLACE_SIZE * (i - 2) + 1)
    for _, bucket in ipairs(own.rows[record.keys[i]] or {}) do
      if bucket.period == period and bucket.opened == opened then
        own.add(bucket, what, whole, nano)
        bucket.blocked = what == 'overrun' and 1 or bucket.blocked
        own.touch(record.keys[i])
      end
    end
  end
end

-- The scope that carries too much in some bucket, if one of these does.
function own.overfull(keys)
  for i = 2, #keys do
    for _, bucket in ipairs(own.rows[keys[i]] or {}) do
      if own.too_much(bucket, 0, 0) then
        return keys[i]:sub(#root + 9)
      end
    end
  end
end

-- Charges in full what nobody reported in time.
local function lapse(id, record)
  local whole, nano = record.amount, record.amount_nano
  own.fetch(record.keys)
  own.move(record, 'reserved', -whole, -nano)
  own.move(record, 'settled', whole, nano)
  own.move(record, 'lapsed', whole, nano)
  record.phase, record.charged, record.charged_nano = IS_LAPSED, whole, nano
  own.set(root .. 'record:' .. id, own.pack_record(record))
  own.enqueue({'ZADD', root .. 'lapsed', format('%d', record.expires), id})
end

-- Lets leases end, and forgets what lapsed long ago: as many as may have come, and some more. Whether there are more.
local function sweep(id, record)
  local due = call('ZRANGEBYSCORE', root .. 'leases', '-inf', now, 'LIMIT', 0, BATCH)
  for _, one in ipairs(due) do
    own.enqueue({'ZREM', root .. 'leases', one})
    local ending = one == id and record or own.read_record(root .. 'record:' .. one)
    if ending then
      lapse(one, ending)
    end
  end
  for _, one in ipairs(call('ZRANGEBYSCORE', root .. 'lapsed', '-inf', now - UNREPORTED, 'LIMIT', 0, 2 * BATCH)) do
    own.enqueue({'ZREM', root .. 'lapsed', one})
    own.enqueue({'DEL', root .. 'record:' .. one})
  end
  local next_one = call('ZRANGEBYSCORE', root .. 'leases', '(' .. format('%d', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  head.due = #due == BATCH and now or tonumber(next_one[2] or 0)
  head_changed = true
  return #due == BATCH
end

-- Data were lost where the head is gone, is another one, or is older than what this client saw; then the ledger is
-- closed. A head that somebody reconciled since is rightly another one.
local function check_head(epoch, sequence, seen)
  if not head then
    head = {epoch = epoch, sequence = sequence, clock = now, due = now, reconciled = 0, closed = 1}
    head_changed = true
  elseif head.epoch ~= epoch and head.reconciled < seen or head.epoch == epoch and head.sequence < sequence then
    head_changed = head_changed or head.closed == 0
    head.closed = 1
  end
end

-- Reads the head and accounts, by keys as `keys_of` makes them; looks whether data were lost, and ends leases. `record`
-- is one that the caller has read, by its id. The head; nil where there are more leases to end, so call again.
function own.begin(keys, id, record)
  local epoch, sequence, seen, clock = take(MARK_FORMAT, ARGV[1])
  local raw = call('GET', KEYS[1])
  if raw then
    head = {}
    head.epoch, head.sequence, head.clock, head.due, head.reconciled, head.closed = take(HEAD_FORMAT, raw)
  end
  if clock == 0 then
    local time = call('TIME')
    clock = time[1] * 1e6 + time[2]
  end
  now = math.max(clock, seen, head and head.clock or 0)
  check_head(epoch, sequence, seen)
  own.fetch(keys)
  local more = head.due ~= 0 and now >= head.due and sweep(id, record)
  head.now = now
  return not more and head or nil
end

-- Lists new accounts, and looks at twice as many old ones: so what nobody needs any more can't pile up.
local function enlist()
  -- Of a run or task, with no limit of its own, nothing held, and left alone for long.
  local function is_idle(scope, row)
    if not row or row.changed or row.limit ~= NONE or not (scope:find('^run:') or scope:find('^task:')) then
      return false
    end
    local patience = row[1].lapsed + row[1].lapsed_nano > 0 and UNREPORTED or IDLE
    return row[1].reserved + row[1].reserved_nano == 0 and now - row.touched >= patience
  end
  local listed = {'ZADD', root .. 'scopes'}
  local function list(scope)
    listed[#listed + 1], listed[#listed + 2] = format('%d', now), scope
  end
  for _, key in ipairs(fresh) do
    list(key:sub(#root + 9))
  end
  local old = call('ZRANGEBYSCORE', root .. 'scopes', '-inf', now - IDLE, 'LIMIT', 0, 2 * #fresh)
  local keys = own.keys_of(old)
  own.fetch(keys)
  for i, scope in ipairs(old) do
    if is_idle(scope, own.rows[keys[i + 1]]) then
      own.enqueue({'DEL', keys[i + 1]})
      own.enqueue({'ZREM', root .. 'scopes', scope})
    else
      list(scope)
    end
  end
  own.enqueue(listed)
end

function own.set(key, value)
  sets[#sets + 1], sets[#sets + 2] = key, value
end

function own.enqueue(command)
  queue[#queue + 1] = command
end

function own.reopen(epoch)
  head.epoch, head.closed, head.reconciled = epoch, 0, now
  head_changed = true
end

-- Writes what was decided. Whoever only looked (`looking`) keeps no time.
function own.commit(looking)
  if #fresh > 0 then
    enlist()
  end
  local unchanged = #changed == 0 and #sets == 0 and #queue == 0 and not head_changed
  if unchanged and (looking or now == head.clock) then
    return
  end
  head.sequence, head.clock = head.sequence + 1, now
  for _, key in ipairs(changed) do
    own.set(key, pack_row(own.rows[key]))
  end
  own.set(KEYS[1], own.pack_head())
  for from = 1, #sets, MANY do
    call('MSET', unpack(sets, from, math.min(from + MANY - 1, #sets)))
  end
  for _, command in ipairs(queue) do
    call(unpack(command))
  end
end

function own.pack_head()
  return pack(HEAD_FORMAT, head.epoch, head.sequence, now, head.due, head.reconciled, head.closed)
end

-- Shows the accounts of some keys, and what the caller adds.
function own.answer(verdict, keys, rest)
  local parts = {pack(ANSWER_FORMAT, verdict, keys and #keys - 1 or 0), own.pack_head()}
  for i = 2, keys and #keys or 0 do
    parts[#parts + 1] = pack_row(own.rows[keys[i]] or blank()):sub(1, ACCOUNT_SIZE)
  end
  parts[#parts + 1] = rest
  return concat(parts)
end

-- Leases were ended, and nothing else was done.
function own.again()
  own.commit()
  return own.answer(AGAIN)
end
