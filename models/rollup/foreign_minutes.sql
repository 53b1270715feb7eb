/*
name: foreign_minutes
description: >-
  Requests of the foreign per minute, by route, TLS fingerprint and network, on days too young to tell strangers (those of
  `home_hours`). A request is foreign when its session was granted no licence in this hour or the eight before and it comes from a
  program (JA4) or a network from which no session that was granted one came in this hour or the three days before: tools and
  rented servers. Empty on all other days.
version: 2
grain: minute
time: minute
interval: hour
keys: [minute, dimension, value]
inputs: [requests, home_hours]
retention: { keep_days: 35 }
batch_rows: 250000
*/
WITH later AS (
  SELECT * FROM (VALUES (INTERVAL '0 hours'), (INTERVAL '1 hour'), (INTERVAL '2 hours'), (INTERVAL '3 hours'), (INTERVAL '4 hours'), (INTERVAL '5 hours'), (INTERVAL '6 hours'), (INTERVAL '7 hours'), (INTERVAL '8 hours')) AS more (span)
), remembered AS (
  -- Rare programs are watched with on some evenings only: three days, so that they do not become foreign every few hours.
  SELECT span + third + day AS span FROM later
  CROSS JOIN (VALUES (INTERVAL '0 hours'), (INTERVAL '8 hours'), (INTERVAL '16 hours')) AS thirds (third)
  CROSS JOIN (VALUES (INTERVAL '0 days'), (INTERVAL '1 day'), (INTERVAL '2 days')) AS days (day)
), homes AS (
  SELECT hour, ja4, asn FROM home_hours WHERE hour >= $from - INTERVAL '3 days' AND hour < $to
), programs AS (
  SELECT DISTINCT hour + span AS hour, ja4, true AS is_home
  FROM (SELECT DISTINCT hour, ja4 FROM homes) CROSS JOIN remembered
), networks AS (
  SELECT DISTINCT hour + span AS hour, asn, true AS is_home
  FROM (SELECT DISTINCT hour, asn FROM homes) CROSS JOIN remembered
), followed AS (
  -- Hours without a home have nothing on the left, and none of their requests is read.
  -- A session stands once for every hour in which it counts, which is what a step needs most memory for: hours of
  -- other steps are left out.
  SELECT DISTINCT hash64(r.session) AS session, y.hour + span AS hour, true AS has_played
  FROM (SELECT DISTINCT hour FROM homes WHERE hour >= $from - INTERVAL '8 hours') y JOIN (
    SELECT * FROM requests
    WHERE time >= $from - INTERVAL '8 hours' AND time < $to
      AND session IS NOT NULL AND (route LIKE '%licence%' OR route LIKE '%license%') AND status < 400
  ) r ON y.hour = date_bin(INTERVAL '1 hour', r.time) CROSS JOIN later
  WHERE y.hour + span >= $from AND y.hour + span < $to
), hits AS (
  SELECT date_bin(INTERVAL '1 minute', r.time) AS minute, y.hour, r.route, r.ja4, coalesce(r.asn, -1) AS asn, hash64(r.session) AS session
  FROM (SELECT DISTINCT hour FROM homes WHERE hour >= $from) y
  JOIN (SELECT * FROM requests WHERE time >= $from AND time < $to) r ON y.hour = date_bin(INTERVAL '1 hour', r.time)
), marked AS (
  -- The small sides stand on the left: that is the side a join keeps in memory.
  SELECT
    h.minute, h.route, h.ja4, CAST(h.asn AS VARCHAR) AS asn,
    CASE WHEN h.has_played IS NULL
      AND ((h.ja4 IS NOT NULL AND h.program_home IS NULL) OR (h.asn >= 0 AND n.is_home IS NULL)) THEN 1 ELSE 0 END AS strange
  FROM networks n RIGHT JOIN (
    SELECT h1.*, p.is_home AS program_home FROM programs p RIGHT JOIN (
      SELECT h0.*, f.has_played FROM followed f RIGHT JOIN hits h0 ON f.session = h0.session AND f.hour = h0.hour
    ) h1 ON p.ja4 = h1.ja4 AND p.hour = h1.hour
  ) h ON n.asn = h.asn AND n.hour = h.hour
)
SELECT
  minute,
  CASE WHEN grouping(route) = 0 THEN 'route' WHEN grouping(ja4) = 0 THEN 'ja4' ELSE 'asn' END AS dimension,
  coalesce(route, ja4, asn, '') AS value,
  count(*) AS requests,
  sum(strange) AS strangers
FROM marked
GROUP BY GROUPING SETS ((minute, route), (minute, ja4), (minute, asn))
HAVING grouping(route) = 0 OR sum(strange) > 0
