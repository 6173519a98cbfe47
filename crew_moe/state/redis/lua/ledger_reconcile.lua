-- Somebody has looked: lifts blocks, and without a scope opens a ledger that lost data, under a new epoch.
--
-- ARGV: 5 a random epoch, 6 a scope; without it, all
-- Answers ok and a status for each scope that may be reserved in again
if begin({ARGV[6]}) then
  return again()
end
local scopes = ARGV[6] and {ARGV[6]} or call('ZRANGE', root .. 'scopes', 0, -1)
seldom().fetch(scopes)
local reopened = head[CLOSED] == 1 and not ARGV[6]
if reopened then
  head[EPOCH], head[CLOSED], head[RECONCILED] = ARGV[5], 0, now
  head_changed = true
end
local lifted = {}
for _, scope in ipairs(scopes) do
  local row, at, limit = account(scope)
  local blocked = limit ~= NONE and row[at + BLOCKED] == 1
  if blocked then
    row[at + BLOCKED] = 0
    touch(scope)
  end
  if blocked or reopened then
    lifted[#lifted + 1] = scope
  end
end
commit()
return seldom().statuses(lifted)
