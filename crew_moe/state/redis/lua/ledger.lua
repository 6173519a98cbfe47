-- What all scripts of the ledger begin with: where things lie, and what numbers stand for.
--
-- KEYS: 1 the head, whose name begins as those of all keys do; so all lie in one hash slot. Then what the script itself
--   names. The others are made here: which reservations have lapsed, and so whose money moves, is known only inside.
--     head             epoch, sequence and time of the whole
--     account:<scope>  a scope that was ever limited or charged: its terms and its buckets
--     record:<id>      a reservation or a charge; one that has ended carries a time to live
--     leases           sorted set: ids of what is held, by when it lapses
--     lapsed           sorted set: ids of what lapsed and nobody reported, by when it lapsed
--     scopes           sorted set: every scope with an account, by when it was last looked at
-- ARGV: 1 epoch, sequence and time that the client saw last, and its own clock (0 for that of Redis)
-- Answers a verdict, the head, as many accounts as it says, and what the script itself adds; all of it packed as it is
--   kept, for whoever asked to take apart (ledger_rows.py).
--
-- An amount is two numbers side by side, whole US$ and nano-US$ below 1e9: a Lua number is a double and would count
-- nano-US$ exactly only up to nine million US$. Times are microseconds since 1970: exact until 2255.
-- Everything is decided before anything is written.
--
-- Each call runs its script from the top, and pays for every function that it passes and every table that it makes. So
-- what nearly every call is, a reservation that finds all in order and its settlement, is done in plain strides; all
-- else is done in `books`, which most calls pass by. A number that becomes a word for Redis costs more than the command
-- that takes it: times are written by `format`.

-- Constants: names in capitals are replaced by what they stand for before Redis sees the text (ledger_scripts.py).
local NANO = 1e9 -- of a US$
local NONE = 1e12 -- US$, where there is no limit
local MAX_CARRIED = 9e9 -- US$ in one bucket, as in every store
local DAY = 86400e6
local IDLE = 604800e6 -- a week
local UNREPORTED = 2678400e6 -- 31 days
local FINISHED_MS = '86400000' -- a day
local BATCH = 200 -- leases that one script ends, so that nobody waits long
local MANY = 1000 -- keys in one command
-- Words as numbers: verdicts, phases of a record, windows.
local OK, AGAIN, REFUSED, FULL, UNKNOWN, ENDED, UNLIMITED, LARGE = 0, 1, 2, 3, 4, 5, 6, 7
local IS_HELD, IS_SETTLED, IS_RELEASED, IS_LAPSED = 0, 1, 2, 3
local PER_RUN, PER_HOUR, PER_DAY, PER_MONTH, IN_TOTAL, NO_CEILING = 0, 1, 2, 3, 4, 255
-- How things are packed, and where in them others lie. An account begins with its present bucket and what limits it:
--   touched, reserved, settled, ends, limit, overrun, blocked, window; period and opened (its place), lapsed
-- Then its own limit, the last ceiling, and how many buckets it has; those of other periods follow.
local MARK_FORMAT = '<c32I8I8I8'
local HEAD_FORMAT = '<c32I8I8I8I8B' -- epoch, sequence, time, when the next lease ends, when it was reconciled, closed
local ANSWER_FORMAT = '<BI4' -- verdict, how many accounts
local AMOUNT_FORMAT = '<I8I4'
local CEILING_FORMAT = '<I8I4B'
local PLACE_FORMAT = '<BI8'
local USUAL_FORMAT = '<I8I4I8I4I8I8I4I8I4B' -- of an account, from reserved to blocked: what every call asks
local ACCOUNT_FORMAT = '<I8I8I4I8I4I8I8I4I8I4BBBI8I8I4I8I4BI8I4BB'
local BUCKET_FORMAT = '<I8I4I8I4I8I8I4BBI8I8I4' -- reserved, settled, ends, overrun, blocked; period, opened, lapsed
local RECORD_FORMAT = '<BBI8I4I8I4I8I4I8I8' -- phase, how many scopes, amount, charged, excess, expires, order
local RESERVED_AT, SETTLED_AT, ENDS_AT, PLACE_AT, PLACE_END = 9, 21, 33, 67, 75
local CEILING_AT, CEILING_END, CEILING_SIZE, ACCOUNT_SIZE = 101, 113, 13, 114
local BUCKET_SIZE, RECORD_SIZE, PLACE_SIZE, AMOUNT_SIZE = 66, 54, 9, 12

local call, pack, take = redis.call, struct.pack, struct.unpack
local floor, format, sub, concat = math.floor, string.format, string.sub, table.concat
local root = KEYS[1]:sub(1, -5)
