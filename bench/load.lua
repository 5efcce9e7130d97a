-- One event a request: results of ten characteristics for a lot that waits in quarantine, each lot once.
-- wrk -s bench/load.lua URL -- KIND KEY PREFIX FIRST
local kind, key, prefix, number

function init(args)
  kind, key, prefix, number = args[1], args[2], args[3], tonumber(args[4])
  wrk.method = "POST"
  wrk.headers["Content-Type"] = args[5] or "application/cloudevents+json"
  wrk.headers["Authorization"] = "Bearer " .. key
end

local head = '{"specversion":"1.0","id":"%s-%s-%d","source":"bench/line-1","type":"%s","subject":"%s-%d","time":"2026-11-23T08:00:00Z","data":%s}'
local results = '{"inspection":"IL-%d","measurements":['
  .. '{"characteristic":"c01","value":"9.998","unit":"mm"},{"characteristic":"c02","value":"10.012","unit":"mm"},'
  .. '{"characteristic":"c03","value":"10.034","unit":"mm"},{"characteristic":"c04","value":"9.951","unit":"mm"},'
  .. '{"characteristic":"c05","value":"10.000","unit":"mm"},{"characteristic":"c06","value":"9.973","unit":"mm"},'
  .. '{"characteristic":"c07","value":"10.021","unit":"mm"},{"characteristic":"c08","value":"9.989","unit":"mm"},'
  .. '{"characteristic":"c09","value":"10.045","unit":"mm"},{"characteristic":"c10","value":"9.967","unit":"mm"}]}'
local receipt = '{"item":"TEN-POINT","revision":"A","quantity":{"value":"100","unit":"ea"},"supplier":"ACME","receipt":"GR-%d"}'

function request()
  number = number + 1
  local type, data = "inspection.recorded.v1", results
  if kind == "receive" then type, data = "lot.received.v1", receipt end
  local body = string.format(head, prefix, kind, number, type, prefix, number, string.format(data, number))
  return wrk.format(nil, "/v1/events", nil, body)
end

local counts = {}
function response(status)
  counts[status] = (counts[status] or 0) + 1
end

-- Threads do not share counts with done(): wrk itself counts what is not 2xx or 3xx.
function done(summary, latency)
  io.write(string.format('{"requests":%d,"seconds":%.6f,"errors":%d,"socket_errors":%d,"p50_ms":%.3f,"p99_ms":%.3f}\n',
    summary.requests, summary.duration / 1e6, summary.errors.status,
    summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
