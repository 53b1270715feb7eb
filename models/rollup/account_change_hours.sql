/*
name: account_change_hours
description: Changes of accounts in an hour; what, by whom, from which device and network, all by hash.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, account, change, actor, device, asn]
inputs: [account_changes]
counts: changes
retention: { keep_days: 400 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  hash64(account) AS account,
  min(account) AS account_id,
  change,
  coalesce(actor, 'member') AS actor,
  hash64(coalesce(device, ip_prefix, '')) AS device,
  coalesce(asn, -1) AS asn,
  coalesce(country, '') AS country,
  count(*) AS changes,
  min(time) AS first_at,
  max(time) AS last_at
FROM account_changes
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 4, 5, 6, 7, 8
