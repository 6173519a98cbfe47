-- Books what was spent already, once per id; what has no room in a scope is overrun there.
--
-- KEYS: 2 ... the accounts of the scopes, widest first
-- ARGV: 2 whole US$ and nano-US$, 3 ceilings and 4 names and note, as `reserve` takes them; 5 id
-- Answers ok, the accounts and the record; full and the scope that would carry too much
local books = books()
local whole, nano = take(AMOUNT_FORMAT, ARGV[2])
local key = root .. 'record:' .. ARGV[5]
local known = books.read_record(key)
local head = books.begin(known and known.keys or KEYS)
if not head then
  return books.again()
end
if known then
  books.commit()
  return books.answer(OK, known.keys, books.pack_record(known))
end

books.agree_all(ARGV[3])
local most, most_nano, places = 0, 0, ''
for i = 2, #KEYS do
  local row = books.rows[KEYS[i]]
  local bucket = row[1]
  if books.too_much(bucket, whole, nano) then
    return books.answer(FULL, nil, KEYS[i]:sub(#root + 9))
  end
  local left, left_nano = books.room(row)
  if left < 0 then
    left, left_nano = 0, 0
  end
  local excess, excess_nano = books.less(whole, nano, left, left_nano)
  if excess < 0 or excess + excess_nano == 0 then
    excess, excess_nano = 0, 0
  else
    books.add(bucket, 'overrun', excess, excess_nano)
    bucket.blocked = 1
  end
  books.add(bucket, 'settled', books.less(whole, nano, excess, excess_nano))
  if books.less(most, most_nano, excess, excess_nano) < 0 then
    most, most_nano = excess, excess_nano
  end
  books.touch(KEYS[i])
  places = places .. pack(PLACE_FORMAT, bucket.period, bucket.opened)
end
local kept = pack(RECORD_FORMAT, IS_SETTLED, #KEYS - 1, 0, 0, whole, nano, most, most_nano, head.now, 0)
  .. places .. ARGV[4]
books.enqueue({'SET', key, kept, 'PX', FINISHED_MS})
books.commit()
return books.answer(OK, KEYS, kept)
