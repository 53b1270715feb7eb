/*
name: rule_clients
description: What each rule did to each client in an hour; short-lived, `rule_outcomes` is made of it.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, defence, rule, rule_version, action, mode, route, client, asn]
inputs: [requests]
retention: { keep_days: 7 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  coalesce(defence, '') AS defence,
  coalesce(rule, '') AS rule,
  coalesce(rule_version, '') AS rule_version,
  coalesce(action, '') AS action,
  coalesce(mode, 'enforce') AS mode,
  route,
  hash64(coalesce(device, ip, '')) AS client,
  coalesce(asn, -1) AS asn,
  count(*) AS hits,
  count(*) FILTER (
    WHERE coalesce(mode, 'enforce') = 'enforce'
      AND (action IN ('block', 'limit') OR (action IN ('challenge', 'step_up') AND coalesce(challenge_result, '') <> 'passed'))
  ) AS stopped,
  count(*) FILTER (WHERE challenge_result = 'passed') AS challenges_passed,
  count(*) FILTER (WHERE challenge_result = 'failed') AS challenges_failed,
  count(account) AS with_account,
  min(time) AS first_at,
  max(time) AS last_at
FROM requests
WHERE time >= $from AND time < $to AND (defence IS NOT NULL OR rule IS NOT NULL)
GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9
