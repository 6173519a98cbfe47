-- What most calls do not need; between the beginning of every script and its own text.

seldom = function()
  local own = {}

  -- The first day of the month of a day, both since 1970 (H. Hinnant, days_from_civil and back).
  local function first_of_month(day)
    local of_era = (day + 719468) % 146097 -- since 1 March of a year that 400 divides
    local year = floor((of_era - floor(of_era / 1460) + floor(of_era / 36524) - floor(of_era / 146096)) / 365)
    local of_year = of_era - (365 * year + floor(year / 4) - floor(year / 100))
    return day - (of_year - floor((153 * floor((5 * of_year + 2) / 153) + 2) / 5))
  end

  -- When the window that `now` lies in opened, and when it ends; 0: never.
  local function span(period)
    if period == 'total' then
      return now, 0
    elseif period == 'month' then
      local first = first_of_month(floor(now / DAY))
      return first * DAY, first_of_month(first + 31) * DAY
    end
    local length = period == 'day' and DAY or DAY / 24
    local opened = floor(now / length) * length
    return opened, opened + length
  end

  -- Opens the present bucket of a period, in the place of one that has ended.
  function own.open_bucket(row, period)
    local at = TERMS
    while at < TERMS + row[COUNT] * WIDTH and row[at + PERIOD] ~= period do
      at = at + WIDTH
    end
    row[COUNT] = math.max(row[COUNT], (at - TERMS) / WIDTH + 1)
    row[at + PERIOD], row[at + OPENED], row[at + ENDS] = period, span(period)
    for i = at + SETTLED, at + BLOCKED do
      row[i] = 0
    end
    return at
  end

  function own.open_account(scope)
    local row = {0, now, NONE, 0, 'total', NONE, 0, ''}
    own.open_bucket(row, 'total')
    accounts[scope], fresh[scope] = row, true
    return row
  end

  -- Reads those accounts that were not read yet.
  function own.fetch(scopes)
    local keys = {}
    for i = 1, #scopes do
      keys[i] = root .. 'account:' .. scopes[i]
    end
    for from = 1, #keys, MANY do
      for i, raw in ipairs(call('MGET', unpack(keys, from, math.min(from + MANY - 1, #keys)))) do
        local scope = scopes[from + i - 1]
        if accounts[scope] == nil then
          accounts[scope] = raw and {struct.unpack(row_format(raw:byte()), raw)}
        end
      end
    end
  end

  -- Opens an account for a call, and takes the ceiling that it brought.
  function own.agree(scope, ceiling)
    local row = accounts[scope] or own.open_account(scope)
    local whole, nano, window = ceiling:match('^(%d+) (%d+) (%a+)$')
    whole, nano = tonumber(whole or row[CEILING]), tonumber(nano or row[CEILING + 1])
    window = window or row[CEILING_WINDOW]
    if fresh[scope] or row[CEILING] ~= whole or row[CEILING + 1] ~= nano or row[CEILING_WINDOW] ~= window then
      row[CEILING], row[CEILING + 1], row[CEILING_WINDOW] = whole, nano, window
      touch(scope)
    end
  end

  -- The answer where an amount may not be put aside in a scope with some room.
  function own.refuse(scope, room, rest)
    local row, at, limit, nano = account(scope)
    local why
    if head[CLOSED] == 1 then
      why = 'closed - 0 0 ' .. scope
    elseif limit == NONE then
      return answer('full', {'', scope})
    elseif row[at + BLOCKED] == 1 then
      why = format('overrun %d%09d 0 %d %s', limit, nano, row[at + ENDS], scope)
    else
      room, rest = math.max(room, 0), room < 0 and 0 or rest
      why = format('limit %d%09d %d%09d %d %s', limit, nano, room, rest, row[at + ENDS], scope)
    end
    commit()
    return answer('refused', {'', why})
  end

  -- Whether a bucket would carry too much with an amount more.
  function own.too_much(row, at, whole, nano)
    local room, rest = less(MAX_CARRIED, 0, carried(row, at))
    return less(room, rest, whole, nano) < 0
  end

  -- The scope that carries too much, if one of these does.
  function own.overfull(scopes)
    for _, scope in ipairs(scopes) do
      local row = accounts[scope]
      for at = TERMS, row and TERMS + (row[COUNT] - 1) * WIDTH or 0, WIDTH do
        if own.too_much(row, at, 0, 0) then
          return scope
        end
      end
    end
  end

  -- Data were lost where the head is gone, is another one, or is older than what this client saw; then the ledger is
  -- closed. A head that somebody reconciled since is rightly another one.
  function own.check_head()
    local epoch, sequence, seen = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
    local reconciled = head and head[EPOCH] ~= epoch and head[RECONCILED] >= seen
    if not head then
      head = {epoch, sequence, now, now, 0, 1}
      head_changed = true
    elseif not reconciled and head[CLOSED] == 0 then
      head[CLOSED] = 1
      head_changed = true
    end
  end

  -- Charges in full what nobody reported in time.
  local function lapse(id, record)
    local whole, nano = record[AMOUNT], record[AMOUNT + 1]
    own.fetch(scopes_of(record))
    move(record, RESERVED, -whole, -nano)
    move(record, SETTLED, whole, nano)
    move(record, LAPSED, whole, nano)
    record[PHASE], record[CHARGED], record[CHARGED + 1] = 'lapsed', whole, nano
    sets[#sets + 1], sets[#sets + 2] = root .. 'record:' .. id, cmsgpack.pack(record)
    queue[#queue + 1] = {'ZADD', root .. 'lapsed', record[EXPIRES], id}
  end

  -- Lets leases end, and forgets what lapsed long ago: as many as may have come, and some more. Whether there are more.
  function own.sweep(read)
    local due = call('ZRANGEBYSCORE', root .. 'leases', '-inf', now, 'LIMIT', 0, BATCH)
    for _, id in ipairs(due) do
      queue[#queue + 1] = {'ZREM', root .. 'leases', id}
      local record = read and read[id] or read_record(id)
      if record then
        lapse(id, record)
      end
    end
    for _, id in ipairs(call('ZRANGEBYSCORE', root .. 'lapsed', '-inf', now - UNREPORTED, 'LIMIT', 0, 2 * BATCH)) do
      queue[#queue + 1] = {'ZREM', root .. 'lapsed', id}
      queue[#queue + 1] = {'DEL', root .. 'record:' .. id}
    end
    local next_one = call('ZRANGEBYSCORE', root .. 'leases', '(' .. format('%d', now), '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    head[DUE] = #due == BATCH and now or tonumber(next_one[2] or 0)
    head_changed = true
    return #due == BATCH
  end

  -- Lists new accounts, and looks at twice as many old ones: so what nobody needs any more can't pile up.
  function own.enlist(scopes)
    -- Of a run or task, with no limit of its own, nothing held, and left alone for long.
    local function is_idle(scope)
      local row = accounts[scope]
      if touched[scope] or not row or row[LIMIT] ~= NONE or not (scope:find('^run:') or scope:find('^task:')) then
        return false
      end
      local at = select(2, account(scope))
      local patience = row[at + LAPSED] + row[at + LAPSED + 1] > 0 and UNREPORTED or IDLE
      return row[at + RESERVED] + row[at + RESERVED + 1] == 0 and now - row[TOUCHED] >= patience
    end
    local old = call('ZRANGEBYSCORE', root .. 'scopes', '-inf', now - IDLE, 'LIMIT', 0, 2 * #scopes)
    own.fetch(old)
    for _, scope in ipairs(old) do
      if is_idle(scope) then
        queue[#queue + 1] = {'DEL', root .. 'account:' .. scope}
        queue[#queue + 1] = {'ZREM', root .. 'scopes', scope}
      else
        scopes[#scopes + 1] = scope
      end
    end
    for _, scope in ipairs(scopes) do
      queue[#queue + 1] = {'ZADD', root .. 'scopes', now, scope}
    end
  end

  function own.statuses(scopes)
    local rows = {''}
    for i, scope in ipairs(scopes) do
      local row, at, limit, nano, window = account(scope)
      local shown = limit == NONE and '-' or format('%d%09d', limit, nano)
      local blocked = head[CLOSED] == 1 or limit ~= NONE and row[at + BLOCKED] == 1
      rows[i + 1] = format('%s %d%09d %d%09d %d%09d %d%09d %s %d %d %d %s', shown, row[at + SETTLED],
        row[at + SETTLED + 1], row[at + RESERVED], row[at + RESERVED + 1], row[at + OVERRUN], row[at + OVERRUN + 1],
        row[at + LAPSED], row[at + LAPSED + 1], window, row[at + OPENED], row[at + ENDS], blocked and 1 or 0, scope)
    end
    return answer('ok', rows)
  end

  seldom = function()
    return own
  end
  return own
end
