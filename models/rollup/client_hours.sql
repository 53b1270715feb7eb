/*
name: client_hours
description: The busiest client groups of each hour (prefix, network, fingerprint, agent class); the rest is one row without keys.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, ip_prefix, asn, ja4, agent_class]
inputs: [requests]
counts: requests
retention: { keep_days: 400 }
*/
WITH grouped AS (
  SELECT
    date_bin(INTERVAL '1 hour', time) AS hour,
    ip_prefix, asn, ja4, agent_class,
    count(*) AS requests,
    count(*) FILTER (WHERE status >= 500) AS errors,
    count(*) FILTER (WHERE action IN ('block', 'limit') AND coalesce(mode, 'enforce') = 'enforce') AS blocked
  FROM requests
  WHERE time >= $from AND time < $to
  GROUP BY 1, 2, 3, 4, 5
), ranked AS (
  SELECT *, row_number() OVER (PARTITION BY hour ORDER BY requests DESC, ip_prefix, asn, ja4, agent_class) <= 500 AS kept
  FROM grouped
)
SELECT
  hour,
  CASE WHEN kept THEN ip_prefix END AS ip_prefix,
  CASE WHEN kept THEN asn END AS asn,
  CASE WHEN kept THEN ja4 END AS ja4,
  CASE WHEN kept THEN agent_class END AS agent_class,
  kept,
  count(*) AS groups,
  sum(requests) AS requests,
  sum(errors) AS errors,
  sum(blocked) AS blocked
FROM ranked
GROUP BY 1, 2, 3, 4, 5, 6
