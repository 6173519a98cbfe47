-- The first word of a client, which saw nothing yet: makes the head of an empty ledger.
--
-- ARGV: 1 a random epoch, for an empty ledger; 2 and 3 are 0
call('SETNX', root .. 'head', struct.pack(HEAD_FORMAT, ARGV[1], 0, 0, 0, 0, 0))
head = {struct.unpack(HEAD_FORMAT, call('GET', root .. 'head'))}
now = head[CLOCK]
return answer('ok', {''})
