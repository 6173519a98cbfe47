-- Puts amounts aside in all scopes at once, or in none.
--
-- KEYS: 2 ... the accounts of the scopes, widest first
-- ARGV: 2 lease in microseconds and the amounts, 3 a ceiling for each scope ('' where there is none at all),
--       4 names of the scopes and the note, as records keep them; 5 ... an id for each amount
-- Answers ok and all accounts; refused, or full, the account that has no room and its scope
local known_epoch, known_sequence, now, clock = take(MARK_FORMAT, ARGV[1])
local lease = take('<I8', ARGV[2])
local ceilings = ARGV[3]
local whole, nano = 0, 0
for i = 5, #ARGV do
  local one, one_nano = take(AMOUNT_FORMAT, ARGV[2], AMOUNT_SIZE * (i - 5) + 9)
  whole, nano = whole + one, nano + one_nano
end
if clock == 0 then
  local time = call('TIME')
  clock = time[1] * 1e6 + time[2]
end
if clock > now then
  now = clock
end

-- Nothing where the books are not in order for it; `ready` tells that they have just been put in order.
local function decide(ready)
  local found = call('MGET', unpack(KEYS))
  if not found[1] then
    return nil
  end
  local epoch, sequence, latest, due, reconciled, closed = take(HEAD_FORMAT, found[1])
  if latest > now then
    now = latest
  end
  if not ready and (epoch ~= known_epoch or sequence < known_sequence or due ~= 0 and now >= due) then
    return nil
  end
  sequence = sequence + 1

  local sets, shown, places = {KEYS[1], ''}, {'', ''}, ''
  local full, verdict
  for i = 2, #KEYS do
    local raw = found[i]
    local ceiling = CEILING_SIZE * (i - 2)
    if not raw or not ready and ceilings ~= '' and ceilings:byte(ceiling + CEILING_SIZE) ~= NO_CEILING
      and sub(ceilings, ceiling + 1, ceiling + CEILING_SIZE) ~= sub(raw, CEILING_AT, CEILING_END) then
      return nil
    end
    local reserved, reserved_nano, settled, settled_nano, ends, limit, limit_nano, overrun, overrun_nano, blocked =
      take(USUAL_FORMAT, raw, RESERVED_AT)
    if ends ~= 0 and now >= ends then
      return nil
    end
    local limited = limit ~= NONE
    local left = (limited and limit or MAX_CARRIED) - settled - reserved - overrun - whole
      + floor((limit_nano - settled_nano - reserved_nano - overrun_nano - nano) / NANO)
    if not full and (left < 0 or closed == 1 or blocked == 1 and limited) then
      full, verdict, shown[2] = KEYS[i], (limited or closed == 1) and REFUSED or FULL, sub(raw, 1, ACCOUNT_SIZE)
    end
    reserved_nano = reserved_nano + nano
    local over = floor(reserved_nano / NANO)
    raw = pack('<I8I8I4', now, reserved + whole + over, reserved_nano - over * NANO) .. sub(raw, SETTLED_AT)
    sets[2 * i - 1], sets[2 * i] = KEYS[i], raw
    shown[i + 1] = #raw == ACCOUNT_SIZE and raw or sub(raw, 1, ACCOUNT_SIZE)
    places = places .. sub(raw, PLACE_AT, PLACE_END)
  end

  if full and whole + nano > 0 then -- nothing is refused to no money
    local head = pack(HEAD_FORMAT, epoch, sequence, now, due, reconciled, closed)
    call('SET', KEYS[1], head)
    return pack(ANSWER_FORMAT, verdict, 1) .. head .. shown[2] .. full:sub(#root + 9)
  end

  local expires = now + lease
  local leases, ends = {'ZADD', root .. 'leases'}, format('%d', expires)
  for i = 5, #ARGV do
    local one, one_nano = take(AMOUNT_FORMAT, ARGV[2], AMOUNT_SIZE * (i - 5) + 9)
    sets[#sets + 1], sets[#sets + 2] = root .. 'record:' .. ARGV[i], pack(RECORD_FORMAT, IS_HELD, #KEYS - 1,
      one, one_nano, 0, 0, 0, 0, expires, sequence * 1000 + i) .. places .. ARGV[4]
    leases[#leases + 1], leases[#leases + 2] = ends, ARGV[i]
  end
  if due == 0 or expires < due then
    due = expires
  end
  sets[2] = pack(HEAD_FORMAT, epoch, sequence, now, due, reconciled, closed)
  call('MSET', unpack(sets))
  call(unpack(leases))
  shown[1], shown[2] = pack(ANSWER_FORMAT, OK, #KEYS - 1), sets[2]
  return concat(shown)
end

-- Leases end, accounts and windows open, ceilings are taken; or the ledger closes.
local function prepare()
  local books = books()
  if not books.begin(KEYS) then
    return books.again()
  end
  books.agree_all(ceilings)
  books.commit()
end

return decide(false) or prepare() or decide(true)
