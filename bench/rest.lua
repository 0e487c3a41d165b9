-- For wrk: enqueues BATCH tasks a request, and prints a line of JSON at the end.
local batch = tonumber(os.getenv("BATCH"))
local task = '{"kind":"bench","payload":{"pad":"' .. string.rep("x", 90) .. '"}}'
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.body = batch == 1 and task or "[" .. string.rep(task .. ",", batch - 1) .. task .. "]"

function done(summary, latency, _)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  local seconds = summary.duration / 1e6
  io.write(string.format(
    '\n{"tasks":%d,"failed":%d,"seconds":%.3f,"rate":%.1f,"p50_ms":%.3f,"p95_ms":%.3f,"p99_ms":%.3f,"max_ms":%.3f}\n',
    summary.requests * batch, failed, seconds, summary.requests * batch / seconds,
    latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3))
end
