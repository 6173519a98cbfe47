-- Settles or releases a reservation; what ended it before holds.
--
-- KEYS: 2 its record
-- ARGV: 2 its id, 3 as what it ends, whole US$ and nano-US$ that it was
-- Answers ok, the accounts and the record; unknown; full and the scope that would carry too much
local ending, whole, nano = take('<BI8I4', ARGV[3])

-- What is held yet, in windows that are open yet, and cost no more than was put aside; nothing for all else.
local function settle()
  local record = call('GET', KEYS[2])
  if not record then
    return nil
  end
  local phase, count, amount, amount_nano, _, _, _, _, expires, order = take(RECORD_FORMAT, record)
  if phase ~= IS_HELD or whole > amount or whole == amount and nano > amount_nano then
    return nil
  end
  local rest = sub(record, RECORD_SIZE + 1)
  local keys = {KEYS[1], sub(rest, PLACE_SIZE * count + 1):match('^' .. ('([^\n]+)\n'):rep(count))}
  for i = 2, count + 1 do
    keys[i] = root .. 'account:' .. keys[i]
  end
  local found = call('MGET', unpack(keys))
  if not found[1] then
    return nil
  end
  local known_epoch, known_sequence, now, clock = take(MARK_FORMAT, ARGV[1])
  local epoch, sequence, latest, due, reconciled, closed = take(HEAD_FORMAT, found[1])
  if clock == 0 then
    local time = call('TIME')
    clock = time[1] * 1e6 + time[2]
  end
  if clock > now then
    now = clock
  end
  if latest > now then
    now = latest
  end
  if epoch ~= known_epoch or sequence < known_sequence or now >= due then
    return nil
  end

  local sets, shown = {KEYS[1], pack(HEAD_FORMAT, epoch, sequence + 1, now, due, reconciled, closed)}, {}
  for i = 2, count + 1 do
    local raw = found[i]
    if not raw or sub(raw, PLACE_AT, PLACE_END) ~= sub(rest, PLACE_SIZE * (i - 2) + 1, PLACE_SIZE * (i - 1)) then
      return nil
    end
    local reserved, reserved_nano, settled, settled_nano, ends = take(USUAL_FORMAT, raw, RESERVED_AT)
    if ends ~= 0 and now >= ends then
      return nil
    end
    settled_nano, reserved_nano = settled_nano + nano, reserved_nano - amount_nano
    local over, under = floor(settled_nano / NANO), floor(reserved_nano / NANO)
    raw = pack('<I8I8I4I8I4', now, reserved - amount + under, reserved_nano - under * NANO, settled + whole + over,
      settled_nano - over * NANO) .. sub(raw, ENDS_AT)
    sets[2 * i - 1], sets[2 * i] = keys[i], raw
    shown[i] = #raw == ACCOUNT_SIZE and raw or sub(raw, 1, ACCOUNT_SIZE)
  end
  call('MSET', unpack(sets))
  record = pack(RECORD_FORMAT, ending, count, amount, amount_nano, whole, nano, 0, 0, expires, order) .. rest
  call('SET', KEYS[2], record, 'PX', FINISHED_MS)
  call('ZREM', root .. 'leases', ARGV[2])
  shown[1] = pack(ANSWER_FORMAT, OK, count) .. sets[2]
  shown[count + 2] = record
  return concat(shown)
end

local function finish()
  local books = books()
  local record = books.read_record(KEYS[2])
  if not books.begin(record and record.keys or {KEYS[1]}, ARGV[2], record) then
    return books.again()
  end
  if not record then
    books.commit()
    return books.answer(UNKNOWN)
  end

  local phase = record.phase
  local excess, excess_nano = whole, nano -- all of it after a release: the room may be taken by now
  if phase == IS_HELD or phase == IS_LAPSED then
    excess, excess_nano = books.less(whole, nano, record.amount, record.amount_nano)
    if excess < 0 then
      excess, excess_nano = 0, 0
    end
    books.move(record, phase == IS_HELD and 'reserved' or 'settled', -record.amount, -record.amount_nano)
    books.move(record, 'settled', books.less(whole, nano, excess, excess_nano))
    if phase == IS_LAPSED then
      books.move(record, 'lapsed', -record.amount, -record.amount_nano)
    end
  elseif phase ~= IS_RELEASED or whole + nano == 0 then
    books.commit()
    return books.answer(OK, record.keys, books.pack_record(record))
  end
  if excess + excess_nano > 0 then
    books.move(record, 'overrun', excess, excess_nano)
    local full = books.overfull(record.keys)
    if full then
      return books.answer(FULL, nil, full)
    end
  end
  record.phase, record.charged, record.charged_nano = ending, whole, nano
  record.excess, record.excess_nano = excess, excess_nano
  local kept = books.pack_record(record)
  books.enqueue({'SET', KEYS[2], kept, 'PX', FINISHED_MS})
  books.enqueue({'ZREM', phase == IS_HELD and root .. 'leases' or root .. 'lapsed', ARGV[2]})
  books.commit()
  return books.answer(OK, record.keys, kept)
end

return settle() or finish()
