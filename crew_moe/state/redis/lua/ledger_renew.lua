-- A longer lease, counted from now; never a shorter one.
--
-- ARGV: 5 id, 6 lease in microseconds
-- Answers ok, when it ends, the amount and how many scopes; their names, standings; ended and how; unknown
local id = ARGV[5]
local record = read_record(id)
local scopes = record and scopes_of(record) or {}
if begin(scopes, {[id] = record}) then
  return again()
end
if not record or record[PHASE] ~= 'held' then
  commit()
  return answer(record and 'ended' or 'unknown', {'', record and record[PHASE] or ''})
end

record[EXPIRES] = math.max(record[EXPIRES], now + ARGV[6])
sets[#sets + 1], sets[#sets + 2] = root .. 'record:' .. id, cmsgpack.pack(record)
queue[#queue + 1] = {'ZADD', root .. 'leases', record[EXPIRES], id}
commit()
local rows = {'', format('%d %d%09d %d', record[EXPIRES], record[AMOUNT], record[AMOUNT + 1], #scopes)}
for i = 1, #scopes do
  rows[i + 2] = scopes[i]
end
return answer('ok', with_standings(rows, scopes))
