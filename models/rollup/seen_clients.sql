/*
name: seen_clients
description: >-
  Which clients came from which network in an hour, what they got, and the first and last of their accounts by hash; what
  later days call known, and what tells a member who watches from somebody who does not.
version: 2
grain: hour
time: hour
interval: hour
keys: [hour, client, asn]
inputs: [requests]
counts: requests
retention: { keep_days: 14 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  hash64(coalesce(device, ip, '')) AS client,
  coalesce(asn, -1) AS asn,
  count(*) AS requests,
  count(*) FILTER (WHERE status < 400) AS served,
  count(*) FILTER (WHERE status < 400 AND (route LIKE '%licence%' OR route LIKE '%license%')) AS licences,
  min(hash64(account)) AS account_low,
  max(hash64(account)) AS account_high
FROM requests
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3
