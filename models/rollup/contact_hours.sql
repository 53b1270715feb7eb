/*
name: contact_hours
description: What members told customer service in an hour, by account (hash), with what it cost.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, account, topic, channel, flag]
inputs: [contacts]
counts: contacts
retention: { keep_days: 400 }
*/
SELECT
  date_bin(INTERVAL '1 hour', time) AS hour,
  hash64(account) AS account,
  topic,
  coalesce(channel, '') AS channel,
  coalesce(flag, '') AS flag,
  count(*) AS contacts,
  sum(cost_usd) AS cost_usd,
  min(time) AS first_at
FROM contacts
WHERE time >= $from AND time < $to
GROUP BY 1, 2, 3, 4, 5
