/*
name: active_account_days
description: Accounts that were used on a day, as a sketch that adds up over any period.
version: 1
grain: day
time: day
interval: day
keys: [day]
inputs: [account_hours]
*/
SELECT
  date_bin(INTERVAL '1 day', hour) AS day,
  count(DISTINCT account) AS accounts,
  hll(account_id) AS accounts_hll
FROM account_hours
WHERE hour >= $from AND hour < $to
GROUP BY 1
