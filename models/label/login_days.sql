/*
name: login_days
description: >-
  Attempts to sign in per day, told apart into those of campaigns and the rest, with what was challenged and passed; kept when
  the single attempts are gone.
version: 2
grain: day
time: day
interval: day
keys: [day]
inputs: [account_logins, login_campaign_attempts]
*/
WITH campaign AS (
  SELECT DISTINCT hour AS c_hour, identifier AS c_identifier, device AS c_device, asn AS c_asn, true AS in_campaign
  FROM login_campaign_attempts WHERE hour >= $from AND hour < $to
), told AS (
  SELECT l.*, c.in_campaign
  FROM campaign c RIGHT JOIN (SELECT * FROM account_logins WHERE hour >= $from AND hour < $to) l
    ON c.c_hour = l.hour AND c.c_identifier = l.identifier AND c.c_device = l.device AND c.c_asn = l.asn
)
SELECT
  date_bin(INTERVAL '1 day', hour) AS day,
  sum(attempts) AS attempts,
  sum(successes) AS successes,
  sum(CASE WHEN in_campaign THEN attempts ELSE 0 END) AS attack_attempts,
  sum(CASE WHEN in_campaign THEN successes ELSE 0 END) AS attack_successes,
  sum(CASE WHEN in_campaign THEN challenges_failed + denied ELSE 0 END) AS attack_stopped,
  sum(challenges_passed + challenges_failed) AS challenged,
  sum(CASE WHEN in_campaign THEN 0 ELSE challenges_passed + challenges_failed END) AS good_challenged,
  sum(CASE WHEN in_campaign THEN 0 ELSE challenges_passed END) AS good_passed,
  sum(CASE WHEN in_campaign THEN 0 ELSE attempts END) AS good_attempts,
  sum(CASE WHEN in_campaign THEN 0 ELSE denied END) AS good_denied,
  sum(CASE WHEN breached IS NULL THEN NULL WHEN in_campaign THEN 0 ELSE least(breached, successes) END) AS good_breached,
  sum(CASE WHEN in_campaign THEN 0 ELSE successes END) AS good_successes
FROM told
GROUP BY 1
