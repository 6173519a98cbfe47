-- Gives a scope a limit of its own, raises it, or takes it away. The window stays where none is named.
--
-- KEYS: 2 the scope's account
-- ARGV: 2 whole US$ (none: no limit) and nano-US$, and the largest limit in whole US$; 3 'raise', 'adopt' (raise, be it
--       the last ceiling), or the window's number ('': as it is)
-- Answers ok, the account and its name; unlimited, where there is nothing to raise; large and the limit that would be
--         too large
local books = books()
local whole, nano, largest = take('<I8I4I8', ARGV[2])
if not books.begin(KEYS) then
  return books.again()
end
local row, window = books.rows[KEYS[2]], tonumber(ARGV[3])
if ARGV[3] == 'raise' or ARGV[3] == 'adopt' then
  local limit, limit_nano = NONE, 0
  if row and ARGV[3] == 'adopt' then
    limit, limit_nano, window = books.limit_of(row)
  elseif row then
    limit, limit_nano = row.limit, row.limit_nano
  end
  if limit == NONE then
    books.commit()
    return books.answer(UNLIMITED)
  end
  whole, nano = books.less(whole + limit, nano + limit_nano, 0, 0)
  if books.less(largest, 0, whole, nano) < 0 then
    return books.answer(LARGE, nil, pack(AMOUNT_FORMAT, whole, nano))
  end
end
books.agree(KEYS[2], 'limit', whole, nano, window)
books.commit()
return books.answer(OK, KEYS, KEYS[2]:sub(#root + 9))
