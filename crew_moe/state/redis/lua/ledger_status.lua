-- How scopes stand.
--
-- ARGV: 5 a scope; without it, all that have an account
-- Answers ok and a status each
if begin({ARGV[5]}) then
  return again()
end
commit(true)
local scopes = ARGV[5] and {ARGV[5]} or call('ZRANGE', root .. 'scopes', 0, -1)
seldom().fetch(scopes)
return seldom().statuses(scopes)
