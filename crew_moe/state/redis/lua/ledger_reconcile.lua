-- Somebody has looked: lifts blocks, and without a scope opens a ledger that lost data, under a new epoch.
--
-- KEYS: 2 a scope's account; without it, all
-- ARGV: 2 a random epoch
-- Answers ok, the account of each scope that may be reserved in again, and their names
local books = books()
local head = books.begin(KEYS)
if not head then
  return books.again()
end
local keys = KEYS[2] and KEYS or books.keys_of(call('ZRANGE', root .. 'scopes', 0, -1))
books.fetch(keys)
local reopened = head.closed == 1 and not KEYS[2]
if reopened then
  books.reopen(ARGV[2])
end
local lifted, names = {KEYS[1]}, {}
for i = 2, #keys do
  local row = books.rows[keys[i]]
  local blocked = row and row[1].blocked == 1 and select(3, books.room(row))
  if blocked then
    row[1].blocked = 0
    books.touch(keys[i])
  end
  if blocked or reopened then
    lifted[#lifted + 1], names[#names + 1] = keys[i], keys[i]:sub(#root + 9)
  end
end
books.commit()
return books.answer(OK, lifted, table.concat(names, '\n'))
