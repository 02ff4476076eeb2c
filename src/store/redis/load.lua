-- KEYS: record, flag. ARGV: time or nothing, how long the flag stands.
local at = clock(ARGV[1])
local value = redis.call('GET', KEYS[1])
if value and not counts(value, at) then value = false end
-- Whoever asks for what runs may wait for it: its end is then told.
if value and runs(value, at) then note_waiting(KEYS[2], ARGV[2]) end
return {at, value}
