-- Gives a scope a limit of its own, raises it, or takes it away. The window stays where none is named.
--
-- ARGV: 5 scope, 6 set or raise, 7 whole US$ ('': no limit) and 8 nano-US$, 9 window ('' for none), 10 the largest
--       limit in whole US$
-- Answers ok and the status; unlimited, where there is nothing to raise; large and the limit that would be too large
local scope, raise, whole = ARGV[5], ARGV[6] == 'raise', tonumber(ARGV[7])
if begin({scope}) then
  return again()
end
if raise and (accounts[scope] and accounts[scope][LIMIT] or NONE) == NONE then
  commit()
  return answer('unlimited', {''})
end

local row = account(scope)
local limit = {raise and row[LIMIT] or 0, raise and row[LIMIT + 1] or 0}
add(limit, 1, whole or 0, tonumber(ARGV[8]) or 0)
if less(ARGV[10], 0, limit[1], limit[2]) < 0 then
  return answer('large', {'', format('%d%09d', limit[1], limit[2])})
end
row[LIMIT], row[LIMIT + 1] = whole and limit[1] or NONE, limit[2]
row[WINDOW] = ARGV[9] ~= '' and ARGV[9] or row[WINDOW]
account(scope) -- opens the bucket of another window
touch(scope)
commit()
return seldom().statuses({scope})
