/*
name: account_uses
description: >-
  Every device and network that used an account on a day, with when each was last seen on this account in the six weeks before:
  what is new and what is known. Nothing later than the day is in it.
version: 1
grain: day
time: day
interval: day
keys: [day, account, device, asn]
inputs: [account_days, account_logins]
retention: { keep_days: 60 }
*/
WITH used AS (
  SELECT CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT) AS d, account, account_id, device, asn, country, ja4,
    requests, served, refused, licences, account_pages, routes, sessions, hours, first_at, last_at
  FROM account_days WHERE day >= $from - INTERVAL '42 days' AND day < $to
  UNION ALL
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT), account, account_id, device, asn, country, ja4,
    0, 0, 0, 0, 0, 0, 0, 0, first_at, last_at
  FROM account_logins WHERE hour >= $from - INTERVAL '42 days' AND hour < $to AND account IS NOT NULL AND successes > 0
), days AS (
  SELECT d, account, min(account_id) AS account_id, device, asn, min(country) AS country, min(ja4) AS ja4,
    sum(requests) AS requests, sum(served) AS served, sum(refused) AS refused, sum(licences) AS licences,
    sum(account_pages) AS account_pages, max(routes) AS routes, sum(sessions) AS sessions, max(hours) AS hours,
    min(first_at) AS first_at, max(last_at) AS last_at
  FROM used GROUP BY 1, 2, 4, 5
), seen AS (
  SELECT *,
    max(d) OVER (PARTITION BY account, device ORDER BY d RANGE BETWEEN 42 PRECEDING AND 1 PRECEDING) AS device_last,
    max(d) OVER (PARTITION BY account, asn ORDER BY d RANGE BETWEEN 42 PRECEDING AND 1 PRECEDING) AS network_last,
    count(*) OVER (PARTITION BY account, asn ORDER BY d RANGE BETWEEN 42 PRECEDING AND 1 PRECEDING) AS network_uses,
    max(d) OVER (PARTITION BY account, country ORDER BY d RANGE BETWEEN 42 PRECEDING AND 1 PRECEDING) AS country_last,
    min(d) OVER (PARTITION BY account ORDER BY d RANGE BETWEEN 42 PRECEDING AND 1 PRECEDING) AS account_first,
    max(d) OVER (PARTITION BY account ORDER BY d RANGE BETWEEN 42 PRECEDING AND 1 PRECEDING) AS account_last
  FROM days
)
SELECT date_bin(INTERVAL '1 day', first_at) AS day, *
FROM seen
WHERE d >= CAST(floor(CAST($from AS BIGINT) / 86400000000) AS BIGINT)
