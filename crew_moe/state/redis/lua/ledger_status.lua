-- How scopes stand.
--
-- KEYS: 2 a scope's account; without it, all
-- Answers ok, the accounts and their names
local books = books()
if not books.begin(KEYS) then
  return books.again()
end
books.commit(true)
local scopes = KEYS[2] and {KEYS[2]:sub(#root + 9)} or call('ZRANGE', root .. 'scopes', 0, -1)
local keys = books.keys_of(scopes)
books.fetch(keys)
return books.answer(OK, keys, table.concat(scopes, '\n'))
