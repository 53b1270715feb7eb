/*
name: leak_hours
description: Credentials that vendors of leak feeds reported in an hour, by the name to sign in with (hash).
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, vendor, identifier, password_match]
inputs: [leaks]
counts: leaks
retention: { keep_days: 400 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  vendor,
  hash64(identifier) AS identifier,
  coalesce(password_match, false) AS password_match,
  count(*) AS leaks,
  min(seen_at) AS first_seen_at,
  min(time) AS first_at
FROM leaks
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3, 4
