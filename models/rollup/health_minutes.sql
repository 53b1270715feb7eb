/*
name: health_minutes
description: Service health per minute, service and route.
version: 1
grain: minute
time: minute
interval: hour
keys: [minute, service, route]
inputs: [health]
counts: samples
retention: { keep_days: 400 }
*/
SELECT
  date_bin(INTERVAL '1 minute', time) AS minute,
  service,
  route,
  count(*) AS samples,
  sum(requests) AS requests,
  sum(errors) AS errors,
  max(latency_p50_us) AS latency_p50_us,
  max(latency_p99_us) AS latency_p99_us,
  max(utilisation) AS utilisation,
  sum(shed) AS shed
FROM health
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3
