-- Puts amounts aside in all scopes at once, or in none.
--
-- ARGV: 5 lease in microseconds, 6 note, 7 how many amounts; id, whole US$ and nano-US$ of each;
--       then of each scope, widest first: its name and its ceiling ('whole nano window', or '')
-- Answers ok, when the lease ends, standings
--         refused, and why: reason, limit, room, when the window ends, scope
--         full, and the scope that would carry too much
local first_scope = 8 + 3 * ARGV[7]
local scopes, total = {}, {0, 0}
for i = 8, first_scope - 1, 3 do
  add(total, 1, ARGV[i + 1], ARGV[i + 2])
end
for i = first_scope, #ARGV, 2 do
  scopes[#scopes + 1] = ARGV[i]
end
if begin(scopes) then
  return again()
end
for i = 1, #scopes do
  if not accounts[scopes[i]] or ARGV[first_scope + 2 * i - 1] ~= '' then
    seldom().agree(scopes[i], ARGV[first_scope + 2 * i - 1])
  end
end

local free = total[1] + total[2] == 0 -- nothing is refused to no money
local found, places = {}, {}
for i = 1, #scopes do
  local row, at, limit, nano = account(scopes[i])
  found[i], places[i] = row, at
  local room, rest = less(limit == NONE and MAX_CARRIED or limit, nano, carried(row, at))
  local fits = less(room, rest, total[1], total[2]) >= 0
  if not free and (not fits or head[CLOSED] == 1 or limit ~= NONE and row[at + BLOCKED] == 1) then
    return seldom().refuse(scopes[i], room, rest)
  end
end

local expires = now + ARGV[5]
local record = {'held', 0, 0, 0, 0, 0, 0, expires, 0, ARGV[6]}
for i = 1, #scopes do
  local row, at, place = found[i], places[i], PLACES + 3 * (i - 1)
  add(row, at + RESERVED, total[1], total[2])
  touch(scopes[i])
  record[place], record[place + 1], record[place + 2] = scopes[i], row[at + PERIOD], row[at + OPENED]
end
local leases = {'ZADD', root .. 'leases'}
for i = 8, first_scope - 1, 3 do
  record[AMOUNT], record[AMOUNT + 1] = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  record[ORDER] = head[SEQUENCE] + i / 1000 -- of one group, in its order
  sets[#sets + 1], sets[#sets + 2] = root .. 'record:' .. ARGV[i], cmsgpack.pack(record)
  leases[#leases + 1], leases[#leases + 2] = expires, ARGV[i]
end
queue[#queue + 1] = leases
if head[DUE] == 0 or expires < head[DUE] then
  head[DUE] = expires
end
commit()
return answer('ok', with_standings({'', format('%d', expires)}, scopes))
