/*
name: request_minutes
description: Requests per minute, service and route, with what the defences did.
version: 1
grain: minute
time: minute
interval: hour
keys: [minute, service, route]
inputs: [requests]
counts: requests
retention: { keep_days: 35, thin_after_days: 2, thin: [clients_hll, latency_kll] }
*/
SELECT
  date_bin(INTERVAL '1 minute', time) AS minute,
  service,
  route,
  count(*) AS requests,
  count(*) FILTER (WHERE status >= 500) AS errors,
  count(*) FILTER (WHERE status >= 400 AND status < 500) AS client_errors,
  count(*) FILTER (WHERE action = 'block' AND coalesce(mode, 'enforce') = 'enforce') AS blocked,
  count(*) FILTER (WHERE action = 'limit' AND coalesce(mode, 'enforce') = 'enforce') AS limited,
  count(*) FILTER (WHERE action IN ('challenge', 'step_up') AND coalesce(mode, 'enforce') = 'enforce') AS challenged,
  count(*) FILTER (WHERE challenge_result = 'passed') AS challenges_passed,
  count(action) AS decided,
  sum(bytes) AS bytes,
  hll(coalesce(device, ip)) AS clients_hll,
  kll(latency_us) AS latency_kll
FROM requests
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3
