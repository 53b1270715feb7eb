/*
name: seen_clients
description: Which clients came from which network in an hour; what later days call known.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, client, asn]
inputs: [requests]
counts: requests
retention: { keep_days: 10 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  hash64(coalesce(device, ip, '')) AS client,
  coalesce(asn, -1) AS asn,
  count(*) AS requests
FROM requests
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3
