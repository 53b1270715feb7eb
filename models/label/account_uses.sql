/*
name: account_uses
description: >-
  Every device and network that used an account on a day, with when each was last seen on this account in the six weeks before:
  what is new and what is known. A program (JA4) that is new to a known device is a row of its own, `new_program`; else `ja4` is the
  first of several. Nothing later than the day is in it.
version: 5
grain: day
time: day
interval: day
keys: [day, account, device, asn, ja4]
inputs: [account_days, account_logins]
retention: { keep_days: 60 }
batch_rows: 2000000
*/
WITH used AS (
  SELECT CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT) AS d, account, account_id, device, asn, country, ja4,
    requests, served, refused, licences, account_pages, routes, sessions, hours, first_at, last_at
  FROM account_days WHERE day >= $from AND day < $to
  UNION ALL
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT), account, account_id, device, asn, country, ja4,
    0, 0, 0, 0, 0, 0, 0, 0, first_at, last_at
  FROM account_logins WHERE hour >= $from AND hour < $to AND account IS NOT NULL AND successes > 0
), present AS (
  SELECT d, account, account_id, device, asn, ja4, min(country) AS country,
    sum(requests) AS requests, sum(served) AS served, sum(refused) AS refused, sum(licences) AS licences,
    sum(account_pages) AS account_pages, max(routes) AS routes, sum(sessions) AS sessions, max(hours) AS hours,
    min(first_at) AS first_at, max(last_at) AS last_at
  FROM used GROUP BY 1, 2, 3, 4, 5, 6
), active AS (
  SELECT account FROM account_days WHERE day >= $from AND day < $to
  UNION
  SELECT account FROM account_logins WHERE hour >= $from AND hour < $to AND account IS NOT NULL AND successes > 0
), before AS (
  -- The last day of a step is before none of its days, and with it a large day would stand twice in memory.
  SELECT CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT) AS d, account, device, asn, country, ja4
  FROM account_days
  WHERE day >= $from - INTERVAL '42 days' AND day < date_bin(INTERVAL '1 day', $to - INTERVAL '1 microsecond')
  UNION ALL
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT), account, device, asn, country, ja4
  FROM account_logins
  WHERE hour >= $from - INTERVAL '42 days' AND hour < date_bin(INTERVAL '1 day', $to - INTERVAL '1 microsecond')
    AND account IS NOT NULL AND successes > 0
), habits AS (
  -- Only accounts of this step are looked up. Days that lie before every day of the step and within the six weeks of each are
  -- told apart no more. WHY: gathered to one value an account; a row for each earlier use would meet each use of the day.
  SELECT b.account AS h_account, habits(
      CASE WHEN b.d >= CAST(CAST($from AS BIGINT) / 86400000000 AS BIGINT) OR b.d < CAST((CAST($to AS BIGINT) - 1) / 86400000000 AS BIGINT) - 42
        THEN b.d ELSE 0 END,
      b.d, b.device, b.asn, hash64(b.ja4), hash64(b.country)) AS packed
  FROM active a JOIN before b ON b.account = a.account GROUP BY 1
), looked_up AS (
  SELECT t.*, habit(h.packed, t.d, t.device, t.asn, hash64(t.ja4), hash64(t.country)) AS known
  FROM habits h RIGHT JOIN present t ON h.h_account = t.account
), uses AS (
  SELECT *, known['device_last'] AS device_last, known['program_last'] AS program_last, known['network_last'] AS network_last,
    known['network_first'] AS network_first, known['country_last'] AS country_last, known['account_first'] AS account_first,
    known['account_last'] AS account_last
  FROM looked_up
)
-- WHY: a device may speak with several programs (player, browser view), so together they are one use; only a program that is
-- new to a known device and asks for something is a use of its own; signing in often has a program of its own.
SELECT date_bin(INTERVAL '1 day', min(first_at)) AS day, d,
  account, account_id, device, asn, min(country) AS country, min(ja4) AS ja4, odd_program <> '' AS new_program,
  sum(requests) AS requests, sum(served) AS served, sum(refused) AS refused, sum(licences) AS licences,
  sum(account_pages) AS account_pages, max(routes) AS routes, sum(sessions) AS sessions, max(hours) AS hours,
  min(first_at) AS first_at, max(last_at) AS last_at,
  max(device_last) AS device_last, max(network_last) AS network_last, min(network_first) AS network_first,
  max(country_last) AS country_last, min(account_first) AS account_first, max(account_last) AS account_last
FROM (SELECT *, CASE WHEN device_last IS NOT NULL AND program_last IS NULL AND requests > 0 THEN ja4 ELSE '' END AS odd_program FROM uses) u
GROUP BY d, account, account_id, device, asn, odd_program
