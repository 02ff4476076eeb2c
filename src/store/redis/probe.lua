-- KEYS: a record. ARGV: channel. Names what this user may not do.
local needed = {
  {'GET', KEYS[1]}, {'GETRANGE', KEYS[1], '0', '1'}, {'SET', KEYS[1], '1', 'PX', '1'},
  {'SETRANGE', KEYS[1], '0', '1'}, {'DEL', KEYS[1]}, {'PEXPIRE', KEYS[1], '1'},
  {'PTTL', KEYS[1]}, {'TIME'}, {'PUBLISH', ARGV[1], '1'},
}
local denied = {}
for _, command in ipairs(needed) do
  if not redis.acl_check_cmd(unpack(command)) then denied[#denied + 1] = command[1] end
end
return denied
