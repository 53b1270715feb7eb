/*
name: service_days
description: Requests per day and service over all routes; the merge of its routes, for questions over years.
version: 1
grain: day
time: day
interval: day
keys: [day, service]
inputs: [request_days]
retention: {}
*/
SELECT
  day,
  service,
  sum(requests) AS requests,
  sum(errors) AS errors,
  sum(client_errors) AS client_errors,
  sum(blocked) AS blocked,
  sum(limited) AS limited,
  sum(challenged) AS challenged,
  sum(challenges_passed) AS challenges_passed,
  sum(bytes) AS bytes,
  hll_merge(clients_hll) AS clients_hll,
  kll_merge(latency_kll) AS latency_kll
FROM request_days
WHERE day >= $from AND day < $to
GROUP BY 1, 2
