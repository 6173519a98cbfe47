-- A longer lease, counted from now; never a shorter one.
--
-- KEYS: 2 its record
-- ARGV: 2 its id, 3 lease in microseconds
-- Answers ok or ended, the accounts and the record; unknown
local books = books()
local record = books.read_record(KEYS[2])
local head = books.begin(record and record.keys or {KEYS[1]}, ARGV[2], record)
if not head then
  return books.again()
end
if not record then
  books.commit()
  return books.answer(UNKNOWN)
elseif record.phase ~= IS_HELD then
  books.commit()
  return books.answer(ENDED, record.keys, books.pack_record(record))
end

record.expires = math.max(record.expires, head.now + take('<I8', ARGV[3]))
local kept = books.pack_record(record)
books.set(KEYS[2], kept)
books.enqueue({'ZADD', root .. 'leases', format('%d', record.expires), ARGV[2]})
books.commit()
return books.answer(OK, record.keys, kept)
