-- What is held, or lapsed and waits for its true price; oldest first.
--
-- ARGV: 5 a scope, if only its charges are wanted
-- Answers ok, and for each: id, phase, amount, when it ends and how many scopes; their names; the note
if begin({}) then
  return again()
end
commit(true)

local open = {}
for _, list in ipairs({root .. 'leases', root .. 'lapsed'}) do
  for _, id in ipairs(call('ZRANGE', list, 0, -1)) do
    local record = read_record(id)
    local scopes = record and scopes_of(record) or {}
    local wanted = #scopes > 0 and not ARGV[5]
    for _, scope in ipairs(scopes) do
      wanted = wanted or scope == ARGV[5]
    end
    if wanted then
      open[#open + 1] = {record[ORDER], id, record, scopes}
    end
  end
end
table.sort(open, function(one, other) return one[1] < other[1] end)

local rows = {''}
for _, found in ipairs(open) do
  local _, id, record, scopes = unpack(found)
  rows[#rows + 1] = format('%s %s %d%09d %d %d', id, record[PHASE], record[AMOUNT], record[AMOUNT + 1],
    record[EXPIRES], #scopes)
  for _, scope in ipairs(scopes) do
    rows[#rows + 1] = scope
  end
  rows[#rows + 1] = record[NOTE]
end
return answer('ok', rows)
