-- What all scripts share. A record is: version (1), kind (1), form (1), token (8), expiry (8),
-- time (8), body; both times are in milliseconds of the clock that `clock` reads.
local HEAD = 27
local AT_MOST = 4503599627370496
local SPARE = 1000

-- The time: the server's, unless a test gives another.
local function clock(given)
  if given ~= '' then return tonumber(given) end
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

local function number(value, from) return (struct.unpack('>I8', value, from)) end

-- What this version can't read stays until the server drops it.
local function readable(value)
  return #value >= HEAD and string.byte(value, 1) == 1 and string.find(value, '^.[PUE]') ~= nil
end
local function kind(value) return readable(value) and string.sub(value, 2, 2) or '?' end
local function token(value) return readable(value) and string.sub(value, 4, 11) or '?' end

-- Whether a record still counts: its window has not ended, or somebody is at work on it.
local function counts(value, at)
  if not readable(value) or at <= number(value, 12) then return true end
  return kind(value) == 'P' and at <= number(value, 20)
end

local function runs(value, at) return kind(value) == 'P' and at <= number(value, 20) end

local function later(at, by) return math.max(0, math.min(at + by, AT_MOST)) end
local function whole(value) return string.format('%.0f', value) end

-- Notes that somebody may wait. A full server does not: then they look for themselves.
local function note_waiting(flag, millis) redis.pcall('SET', flag, '1', 'PX', millis) end
