-- KEYS: record, flag. ARGV: time or nothing, how long the flag stands, channel, name;
-- expected token or nothing; kind, or nothing to remove, or R to remove what runs, form, token,
-- window, time, body.
local at = clock(ARGV[1])
local expected, next = ARGV[5], ARGV[6]
local value = redis.call('GET', KEYS[1])
if value and not counts(value, at) then value = false end

local fits
-- A claim that is asked for again has lost its reply, not the record.
local again = value and expected == '' and next == 'P' and kind(value) == 'P'
  and token(value) == ARGV[8]
if expected == '' then
  fits = not value or again
else
  -- What has ended is never written over; it can be removed.
  fits = value and token(value) == expected
  if next == 'R' then fits = fits and kind(value) == 'P' end
  if next ~= '' then fits = fits and kind(value) ~= 'E' end
  -- Another takes over only what nobody is at work on: its lease may have been renewed meanwhile.
  if next ~= '' and next ~= 'R' and ARGV[8] ~= expected then
    fits = fits and not runs(value, at)
  end
end
if not fits then
  if value and runs(value, at) then note_waiting(KEYS[2], ARGV[2]) end
  return {at, 0, value}
end

local word = false
if next == '' or next == 'R' then
  if not value then return {at, 1, false} end
  redis.call('DEL', KEYS[1])
  word = kind(value) == 'E' and 'forgotten'
else
  local ends, time = later(at, ARGV[9]), later(at, ARGV[10])
  local stays = next == 'P' and math.max(ends, time) or ends
  local head = struct.pack('>Bc1c1c8I8I8', 1, next, ARGV[7], ARGV[8], ends, time)
  stays = whole(math.max(stays - at, 0) + SPARE)
  local done = redis.pcall('SET', KEYS[1], head .. ARGV[11], 'PX', stays)
  if done.err then
    -- A server that has become full has this claim all the same. What is written here is waited
    -- for, if replicas are.
    if not again or number(value, 20) + SPARE < time then return done end
    redis.call('PEXPIRE', KEYS[1], stays)
  end
end
if next ~= 'P' and redis.call('DEL', KEYS[2]) == 1 then word = word or 'changed' end
if word then redis.call('PUBLISH', ARGV[3], string.sub(word, 1, 1) .. ARGV[4]) end
return {at, 1, false}
