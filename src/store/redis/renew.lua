#!lua flags=allow-oom
-- A server that is full must not end what runs: a claim that is renewed needs no more room.
-- KEYS: records. ARGV: time or nothing, lease, then the token of each record.
local at = clock(ARGV[1])
local lease = tonumber(ARGV[2])
local renewed = 0
for index, key in ipairs(KEYS) do
  local value = redis.call('GETRANGE', key, 0, HEAD - 1)
  if kind(value) == 'P' and token(value) == ARGV[2 + index] and counts(value, at) then
    local until_then = math.max(number(value, 20), later(at, lease))
    redis.call('SETRANGE', key, 19, struct.pack('>I8', until_then))
    local stays = until_then - at + SPARE
    if redis.call('PTTL', key) < stays then redis.call('PEXPIRE', key, whole(stays)) end
    renewed = renewed + 1
  end
end
return {at, renewed}
