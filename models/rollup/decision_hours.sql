/*
name: decision_hours
description: Decisions per hour, defence, rule, version, action and mode.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, defence, rule, rule_version, action, mode]
inputs: [requests]
retention: {}
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  defence,
  rule,
  rule_version,
  action,
  coalesce(mode, 'enforce') AS mode,
  count(*) AS decisions,
  count(*) FILTER (WHERE challenge_result = 'passed') AS challenges_passed,
  count(*) FILTER (WHERE challenge_result = 'failed') AS challenges_failed,
  count(*) FILTER (WHERE challenge_result = 'abandoned') AS challenges_abandoned,
  hll(coalesce(device, ip)) AS clients_hll
FROM requests
WHERE time >= $from AND time < $to AND (defence IS NOT NULL OR action IS NOT NULL)
GROUP BY 1, 2, 3, 4, 5, 6
