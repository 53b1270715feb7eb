/*
name: login_minutes
description: Attempts to sign in per minute, by what became of them and with what they were made.
version: 1
grain: minute
time: minute
interval: hour
keys: [minute, outcome, credential, country, rule]
inputs: [logins]
counts: attempts
retention: { keep_days: 1100, thin_after_days: 400, thin: [accounts_hll] }
*/
SELECT
  date_bin(INTERVAL '1 minute', time) AS minute,
  outcome,
  coalesce(credential, '') AS credential,
  coalesce(country, '') AS country,
  coalesce(defence, '') AS defence,
  coalesce(rule, '') AS rule,
  count(*) AS attempts,
  count(*) FILTER (WHERE breached) AS breached,
  count(*) FILTER (WHERE weak) AS weak,
  count(*) FILTER (WHERE mfa IS NOT NULL) AS with_mfa,
  hll(identifier) AS accounts_hll
FROM logins
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3, 4, 5, 6
