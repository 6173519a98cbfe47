-- Common to all scripts of pages; each script is this text with its own after it.
--
-- KEYS[1] is the root. Every key that is touched begins with it, so that all of them lie in one hash slot:
--   one:<name>   a page: 'VERSION ENDS CONTENT'; ENDS in microseconds since 1970 or 'never', CONTENT as base64
--   names        sorted set: names of pages, all with score 0 and so in their order
--   ends         sorted set: names of pages that end, by when they do
--   version      grows with every change; the version of a page is what it was then

local ROOT = KEYS[1]

local function forget(name)
  redis.call('ZREM', ROOT .. 'names', name)
  redis.call('ZREM', ROOT .. 'ends', name)
  return redis.call('DEL', ROOT .. 'one:' .. name)
end

local function changed()
  if redis.call('INCR', ROOT .. 'version') == 1 then
    -- A server that lost its data must not count up to a version that somebody has seen.
    local time = redis.call('TIME')
    redis.call('SET', ROOT .. 'version', time[1] .. string.format('%06d', time[2]))
  end
  return redis.call('GET', ROOT .. 'version')
end
