/*
name: request_days
description: Requests per day, service and route; the merge of its hours.
version: 1
grain: day
time: day
interval: day
keys: [day, service, route]
inputs: [request_hours]
retention: {}
*/
SELECT
  date_bin(INTERVAL '1 day', hour) AS day,
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
  max(requests_minute_max) AS requests_minute_max,
  hll_merge(clients_hll) AS clients_hll,
  kll_merge(latency_kll) AS latency_kll
FROM request_hours
WHERE hour >= $from AND hour < $to
GROUP BY 1, 2, 3
