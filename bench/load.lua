-- One request, or one per line of BENCH_AUTHORIZATIONS, prepared before the load begins. The body, if any, is a form.
-- A line is the value of Authorization and, each behind a tab, that of DPoP and what is added to the body.
local requests = {}

function init()
  local body = os.getenv("BENCH_BODY")
  if body == "" then body = nil end
  if body then wrk.headers["Content-Type"] = "application/x-www-form-urlencoded" end
  for line in io.lines(os.getenv("BENCH_AUTHORIZATIONS")) do
    local authorization, proof, more = line:match("^([^\t]*)\t?([^\t]*)\t?(.*)$")
    if authorization ~= "" then wrk.headers["Authorization"] = authorization end
    if proof ~= "" then wrk.headers["DPoP"] = proof end
    local said = more ~= "" and body .. "&" .. more or body
    requests[#requests + 1] = wrk.format(body and "POST" or "GET", nil, nil, said)
  end
end

local turn = 0
function request()
  turn = turn % #requests + 1
  return requests[turn]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format("RESULT %.2f %d %d %d %d %d\n",
    summary.requests / (summary.duration / 1e6), latency:percentile(50), latency:percentile(99),
    summary.requests, errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
