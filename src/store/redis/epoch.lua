-- KEYS: mark. ARGV: time or nothing, a mark; the mark and the count that are known, or nothing.
-- The mark and its count go where the data goes. A count that is lower than the known one says
-- that older data has come back: it gets another mark, by which everyone sees it.
local at = clock(ARGV[1])
local value = redis.call('GET', KEYS[1])
local mark, count = nil, 0
if value then
  mark, count = string.match(value, '^%S+'), tonumber(string.match(value, ' (%d+)$')) or 0
  if mark == ARGV[3] and count < tonumber(ARGV[4]) then mark = nil end
end
local is_known = mark ~= nil
if not is_known then mark, count = ARGV[2], 0 end
local done = redis.pcall('SET', KEYS[1], mark .. ' ' .. whole(count + 1))
if done.ok then return {at, mark, count + 1} end
-- A server that takes no writes at the moment can be read all the same.
if is_known then return {at, mark, count} end
return done
