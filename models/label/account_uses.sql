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
  -- Only accounts of this step are looked up. This side stands in memory whole: texts that are only compared are hashes, and
  -- days that lie before every day of the step and within the six weeks of each are told apart no more.
  SELECT h_days, account AS h_account, device AS h_device, asn AS h_asn, h_ja4, min(h_country) AS h_country, min(d) AS h_first, max(d) AS h_last
  FROM (
    SELECT b.d, b.account, b.device, b.asn, hash64(b.ja4) AS h_ja4, hash64(b.country) AS h_country,
      CASE WHEN b.d >= CAST(CAST($from AS BIGINT) / 86400000000 AS BIGINT) OR b.d < CAST((CAST($to AS BIGINT) - 1) / 86400000000 AS BIGINT) - 42
        THEN b.d ELSE 0 END AS h_days
    FROM active a JOIN before b ON b.account = a.account
  ) x GROUP BY 1, 2, 3, 4, 5
), uses AS (
  -- Columns of the present use are the same in every row of a group: texts are keys, of numbers the minimum is the value.
  -- WHY: the minimum of a text is a piece of memory of its own in every group.
  SELECT t.d, t.account, t.account_id, t.device, t.asn, t.country, t.ja4,
    min(t.requests) AS requests, min(t.served) AS served, min(t.refused) AS refused, min(t.licences) AS licences,
    min(t.account_pages) AS account_pages, min(t.routes) AS routes, min(t.sessions) AS sessions, min(t.hours) AS hours,
    min(t.first_at) AS first_at, min(t.last_at) AS last_at,
    max(CASE WHEN h.h_device = t.device THEN h.h_last END) AS device_last,
    max(CASE WHEN h.h_device = t.device AND h.h_ja4 = hash64(t.ja4) THEN h.h_last END) AS program_last,
    max(CASE WHEN h.h_asn = t.asn THEN h.h_last END) AS network_last,
    min(CASE WHEN h.h_asn = t.asn THEN h.h_first END) AS network_first,
    max(CASE WHEN h.h_country = hash64(t.country) THEN h.h_last END) AS country_last,
    min(h.h_first) AS account_first,
    max(h.h_last) AS account_last
  FROM habits h RIGHT JOIN present t ON h.h_account = t.account AND (h.h_days = 0 OR (h.h_days < t.d AND h.h_days >= t.d - 42))
  GROUP BY t.d, t.account, t.account_id, t.device, t.asn, t.country, t.ja4
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
