/*
name: request_hours
description: Requests per hour, service and route; the merge of its minutes.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, service, route]
inputs: [request_minutes]
retention: { keep_days: 400 }
*/
SELECT
  date_bin(INTERVAL '1 hour', minute) AS hour,
  service,
  route,
  sum(requests) AS requests,
  sum(errors) AS errors,
  sum(client_errors) AS client_errors,
  sum(blocked) AS blocked,
  sum(limited) AS limited,
  sum(challenged) AS challenged,
  sum(challenges_passed) AS challenges_passed,
  sum(decided) AS decided,
  sum(bytes) AS bytes,
  max(requests) AS requests_minute_max,
  hll_merge(clients_hll) AS clients_hll,
  kll_merge(latency_kll) AS latency_kll
FROM request_minutes
WHERE minute >= $from AND minute < $to
GROUP BY 1, 2, 3
