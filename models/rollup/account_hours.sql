/*
name: account_hours
description: Which devices and networks used an account in an hour and what they asked for; short-lived, `account_days` is made of it.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, account, device, asn, country, ja4]
inputs: [requests]
retention: { keep_days: 14 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  hash64(account) AS account,
  min(account) AS account_id,
  hash64(coalesce(device, ip_prefix, '')) AS device,
  coalesce(asn, -1) AS asn,
  coalesce(country, '') AS country,
  coalesce(ja4, '') AS ja4,
  count(*) AS requests,
  count(*) FILTER (WHERE status < 400) AS served,
  count(*) FILTER (WHERE status IN (401, 403, 429)) AS refused,
  count(*) FILTER (WHERE status < 400 AND (route LIKE '%licence%' OR route LIKE '%license%')) AS licences,
  count(*) FILTER (WHERE route LIKE '%account%' OR route LIKE '%payment%' OR route LIKE '%setting%') AS account_pages,
  count(DISTINCT hash64(route)) AS routes,
  count(DISTINCT hash64(session)) AS sessions,
  min(time) AS first_at,
  max(time) AS last_at
FROM requests
WHERE time >= $from AND time < $to AND account IS NOT NULL
GROUP BY 1, 2, 4, 5, 6, 7
