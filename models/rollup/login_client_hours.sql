/*
name: login_client_hours
description: >-
  Where attempts to sign in came from in an hour: network prefix, fingerprint and agent, with what became of them, how many
  names they tried and whether the same passwords came again. Nothing is left out for being small.
version: 2
grain: hour
time: hour
interval: hour
keys: [hour, ip_prefix, asn, ja4, user_agent]
inputs: [logins]
counts: attempts
batch_rows: 900000
retention: { keep_days: 400 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  ip_prefix, asn, country, ja4, user_agent,
  count(*) AS attempts,
  count(*) FILTER (WHERE outcome IN ('success', 'challenge_passed')) AS successes,
  count(*) FILTER (WHERE outcome = 'wrong_credential') AS wrong,
  count(*) FILTER (WHERE outcome = 'unknown_account') AS unknown,
  count(*) FILTER (WHERE outcome IN ('challenged', 'challenge_failed')) AS challenged,
  count(*) FILTER (WHERE outcome IN ('denied', 'locked')) AS denied,
  count(*) FILTER (WHERE breached) AS breached,
  count(*) FILTER (WHERE weak) AS weak,
  hll(identifier) AS names_hll,
  hll(password_bucket) AS passwords_hll,
  min(time) AS first_at,
  max(time) AS last_at
FROM logins
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3, 4, 5, 6
