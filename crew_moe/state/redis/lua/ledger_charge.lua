-- Books what was spent already, once per id; what has no room in a scope is overrun there.
--
-- ARGV: 5 id, 6 whole US$, 7 nano-US$, 8 note; then of each scope, widest first: its name and its ceiling, as reserved
-- Answers ok and what became of it; full and the scope that would carry too much
local id, whole, nano = ARGV[5], tonumber(ARGV[6]), tonumber(ARGV[7])
local known = read_record(id)
local scopes = known and scopes_of(known) or {}
for i = 9, known and 0 or #ARGV, 2 do
  scopes[#scopes + 1] = ARGV[i]
end
if begin(scopes) then
  return again()
end
if known then
  commit()
  return outcome(known)
end

local record = {'settled', 0, 0, whole, nano, 0, 0, now, head[SEQUENCE], ARGV[8]}
for i = 1, #scopes do
  seldom().agree(scopes[i], ARGV[8 + 2 * i])
  local row, at, limit, rest = account(scopes[i])
  if seldom().too_much(row, at, whole, nano) then
    return answer('full', {'', scopes[i]})
  end
  local room, room_nano = less(limit, rest, carried(row, at))
  if room < 0 then
    room, room_nano = 0, 0
  end
  local excess, excess_nano = less(whole, nano, room, room_nano)
  if excess < 0 or excess + excess_nano == 0 then
    excess, excess_nano = 0, 0
  else
    add(row, at + OVERRUN, excess, excess_nano)
    row[at + BLOCKED] = 1
  end
  add(row, at + SETTLED, less(whole, nano, excess, excess_nano))
  if less(record[EXCESS], record[EXCESS + 1], excess, excess_nano) < 0 then
    record[EXCESS], record[EXCESS + 1] = excess, excess_nano
  end
  touch(scopes[i])
  local place = PLACES + 3 * (i - 1)
  record[place], record[place + 1], record[place + 2] = scopes[i], row[at + PERIOD], row[at + OPENED]
end
queue[#queue + 1] = {'SET', root .. 'record:' .. id, cmsgpack.pack(record), 'PX', FINISHED_MS}
commit()
return outcome(record)
