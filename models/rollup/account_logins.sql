/*
name: account_logins
description: >-
  Attempts to sign in per account, device and network in an hour, all by hash; short-lived, campaigns and takeovers are found
  in it. `account` is null where the name belongs to nobody.
version: 3
grain: hour
time: hour
interval: hour
keys: [hour, identifier, device, asn, ip_prefix, ja4, user_agent, password, credential]
inputs: [logins]
counts: attempts
batch_rows: 900000
retention: { keep_days: 45 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  hash64(account) AS account,
  account AS account_id,
  hash64(identifier) AS identifier,
  hash64(coalesce(device, ip_prefix, '')) AS device,
  coalesce(asn, -1) AS asn,
  coalesce(country, '') AS country,
  coalesce(ip_prefix, '') AS ip_prefix,
  coalesce(ja4, '') AS ja4,
  coalesce(user_agent, '') AS user_agent,
  hash64(password_bucket) AS password,
  coalesce(credential, '') AS credential,
  count(*) AS attempts,
  count(*) FILTER (WHERE outcome IN ('success', 'challenge_passed')) AS successes,
  count(*) FILTER (WHERE outcome = 'wrong_credential') AS wrong,
  count(*) FILTER (WHERE outcome = 'unknown_account') AS unknown,
  count(*) FILTER (WHERE outcome = 'challenge_passed') AS challenges_passed,
  count(*) FILTER (WHERE outcome IN ('challenged', 'challenge_failed')) AS challenges_failed,
  count(*) FILTER (WHERE outcome IN ('denied', 'locked')) AS denied,
  CASE WHEN count(breached) > 0 THEN count(*) FILTER (WHERE breached) END AS breached,
  CASE WHEN count(weak) > 0 THEN count(*) FILTER (WHERE weak) END AS weak,
  count(*) FILTER (WHERE mfa IS NOT NULL AND outcome IN ('success', 'challenge_passed')) AS with_mfa,
  min(time) AS first_at,
  max(time) AS last_at
FROM logins
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12
