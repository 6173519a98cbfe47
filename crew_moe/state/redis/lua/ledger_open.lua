-- The first word of a client, which saw nothing yet: makes the head of an empty ledger.
--
-- ARGV: 1 begins with a random epoch, for an empty ledger
call('SETNX', KEYS[1], pack(HEAD_FORMAT, take('<c32', ARGV[1]), 0, 0, 0, 0, 0))
return pack(ANSWER_FORMAT, OK, 0) .. call('GET', KEYS[1])
