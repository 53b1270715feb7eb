/*
name: account_days
description: >-
  Which devices, networks and programs (JA4) used an account on a day; what later days call known. Holds hashes, the pseudonym of
  the account once a row, and goes after 60 days.
version: 2
grain: day
time: day
interval: day
keys: [day, account, device, asn, country, ja4]
inputs: [account_hours]
retention: { keep_days: 60 }
*/
SELECT
  date_bin(INTERVAL '1 day', hour) AS day,
  account,
  min(account_id) AS account_id,
  device, asn, country, ja4,
  sum(requests) AS requests,
  sum(served) AS served,
  sum(refused) AS refused,
  sum(licences) AS licences,
  sum(account_pages) AS account_pages,
  max(routes) AS routes,
  sum(sessions) AS sessions,
  count(*) AS hours,
  min(first_at) AS first_at,
  max(last_at) AS last_at
FROM account_hours
WHERE hour >= $from AND hour < $to
GROUP BY 1, 2, 4, 5, 6, 7
