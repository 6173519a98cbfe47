-- What is held, or lapsed and waits for its true price; in any order.
--
-- KEYS: 2 a scope's account, if only its charges are wanted
-- Answers ok, and for each: its id, how long its record is, the record
local books = books()
if not books.begin({KEYS[1]}) then
  return books.again()
end
books.commit(true)

local open = {}
for _, list in ipairs({root .. 'leases', root .. 'lapsed'}) do
  for _, id in ipairs(call('ZRANGE', list, 0, -1)) do
    local record = books.read_record(root .. 'record:' .. id)
    local wanted = record and not KEYS[2]
    for i = 2, record and #record.keys or 0 do
      wanted = wanted or record.keys[i] == KEYS[2]
    end
    if wanted then
      local kept = books.pack_record(record)
      open[#open + 1] = id .. pack('<I4', #kept) .. kept
    end
  end
end
return books.answer(OK, nil, table.concat(open))
