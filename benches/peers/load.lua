-- The load: charges of 512 bytes with an Idempotency-Key of 35 characters.
--
--   wrk -s load.lua URL -- METHOD PREFIX KEYS
--
-- PREFIX (22 characters) begins every key. KEYS is the number of keys that take turns; 0 makes a
-- new one for each request, counting from 1 (wrk uses up the 0 to look at a request).
-- Ends with one line for the benchmark: "result NAME=NUMBER ...", durations in microseconds.

local before, after, prefix, keys
local sent = 0

function init(args)
  local method = args[1]
  prefix = args[2]
  keys = tonumber(args[3])

  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Authorization"] = "Bearer sk_test_4eC39HqLyjWDarjtT1zdp7dc"
  wrk.headers["Idempotency-Key"] = "@KEY@"
  local start = '{"amount":1200,"currency":"eur","source":"tok_visa","description":"'
  local body = start .. string.rep("x", 512 - #start - 2) .. '"}'
  local request = wrk.format(method, "/v1/charges", nil, body)
  before, after = request:match("^(.-)@KEY@(.*)$")
end

function request()
  local number = keys > 0 and sent % keys or sent
  sent = sent + 1
  return before .. string.format("%s-%012d", prefix, number) .. after
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    "result requests=%d duration=%d p50=%d p99=%d refused=%d broken=%d\n",
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
