-- Settles or releases a reservation; what ended it before holds.
--
-- ARGV: 5 id, 6 settled or released, 7 whole US$ and 8 nano-US$ that it was
-- Answers ok and what became of it; unknown; full and the scope that would carry too much
local id, whole, nano = ARGV[5], tonumber(ARGV[7]), tonumber(ARGV[8])
local record = read_record(id)
if begin(record and scopes_of(record) or {}, {[id] = record}) then
  return again()
end
if not record then
  commit()
  return answer('unknown', {''})
end

local phase = record[PHASE]
local excess, excess_nano = whole, nano -- all of it after a release: the room may be taken by now
if phase == 'held' or phase == 'lapsed' then
  excess, excess_nano = less(whole, nano, record[AMOUNT], record[AMOUNT + 1])
  if excess < 0 then
    excess, excess_nano = 0, 0
  end
  move(record, phase == 'held' and RESERVED or SETTLED, -record[AMOUNT], -record[AMOUNT + 1])
  move(record, SETTLED, less(whole, nano, excess, excess_nano))
  if phase == 'lapsed' then
    move(record, LAPSED, -record[AMOUNT], -record[AMOUNT + 1])
  end
  queue[#queue + 1] = {'ZREM', phase == 'held' and root .. 'leases' or root .. 'lapsed', id}
elseif phase ~= 'released' or whole + nano == 0 then
  commit()
  return outcome(record)
end
if excess + excess_nano > 0 then
  move(record, OVERRUN, excess, excess_nano)
  local full = seldom().overfull(scopes_of(record))
  if full then
    return answer('full', {'', full})
  end
end

record[PHASE], record[CHARGED], record[CHARGED + 1] = ARGV[6], whole, nano
record[EXCESS], record[EXCESS + 1] = excess, excess_nano
queue[#queue + 1] = {'SET', root .. 'record:' .. id, cmsgpack.pack(record), 'PX', FINISHED_MS}
commit()
return outcome(record)
