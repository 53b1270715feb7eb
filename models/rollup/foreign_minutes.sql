/*
name: foreign_minutes
description: >-
  Requests of the foreign per minute, by route, TLS fingerprint and network, on days too young to tell strangers: those that
  no third to ninth day before is known of. A request is foreign when its session was granted no licence in this hour or the
  eight before and it comes from a program (JA4) or a network from which no session that was granted one came in these hours:
  tools and rented servers. Empty on all other days.
version: 1
grain: minute
time: minute
interval: hour
keys: [minute, dimension, value]
inputs: [requests, seen_clients]
retention: { keep_days: 35 }
batch_rows: 1000000
*/
WITH settled AS (
  SELECT DISTINCT day + later AS day
  FROM (
    SELECT DISTINCT date_bin(INTERVAL '1 day', hour) AS day FROM seen_clients
    WHERE hour >= $from - INTERVAL '10 days' AND hour < $to - INTERVAL '2 days'
  ) days CROSS JOIN (VALUES (INTERVAL '3 days'), (INTERVAL '4 days'), (INTERVAL '5 days'), (INTERVAL '6 days'), (INTERVAL '7 days'), (INTERVAL '8 days'), (INTERVAL '9 days')) AS more (later)
), young AS (
  SELECT d.day
  FROM (
    SELECT DISTINCT date_bin(INTERVAL '1 day', hour) AS day FROM seen_clients
    WHERE hour >= $from - INTERVAL '8 hours' AND hour < $to
  ) d LEFT ANTI JOIN settled s ON s.day = d.day
), asked AS (
  -- Without a young day there is nothing on the left, and no request is read.
  SELECT
    r.time, r.route, r.ja4, coalesce(r.asn, -1) AS asn, hash64(r.session) AS session, date_bin(INTERVAL '1 hour', r.time) AS hour,
    r.status < 400 AND (r.route LIKE '%licence%' OR r.route LIKE '%license%') AS granted
  FROM young y JOIN (
    SELECT * FROM requests WHERE time >= $from - INTERVAL '8 hours' AND time < $to
  ) r ON y.day = date_bin(INTERVAL '1 day', r.time)
), played AS (
  SELECT DISTINCT session, hour FROM asked WHERE granted AND session IS NOT NULL
), homes AS (
  -- Of what a session used, and the hours of which it tells.
  SELECT DISTINCT v.ja4, v.asn, greatest(v.hour, p.hour) AS since, least(v.hour, p.hour) + INTERVAL '8 hours' AS until
  FROM played p JOIN (SELECT DISTINCT session, hour, ja4, asn FROM asked WHERE session IS NOT NULL) v ON p.session = v.session
), hours AS (
  SELECT DISTINCT hour FROM asked WHERE time >= $from
), programs AS (
  SELECT DISTINCT h.hour, m.ja4, true AS is_home
  FROM hours h JOIN (SELECT DISTINCT ja4, since, until FROM homes) m ON h.hour >= m.since AND h.hour <= m.until
), networks AS (
  SELECT DISTINCT h.hour, m.asn, true AS is_home
  FROM hours h JOIN (SELECT DISTINCT asn, since, until FROM homes) m ON h.hour >= m.since AND h.hour <= m.until
), followed AS (
  SELECT DISTINCT h.hour, p.session, true AS has_played
  FROM hours h JOIN played p ON p.hour <= h.hour AND p.hour >= h.hour - INTERVAL '8 hours'
), marked AS (
  -- The small sides stand on the left: that is the side a join keeps in memory.
  SELECT
    date_bin(INTERVAL '1 minute', h.time) AS minute, h.route, h.ja4, CAST(h.asn AS VARCHAR) AS asn,
    CASE WHEN h.has_played IS NULL
      AND ((h.ja4 IS NOT NULL AND h.program_home IS NULL) OR (h.asn >= 0 AND n.is_home IS NULL)) THEN 1 ELSE 0 END AS strange
  FROM networks n RIGHT JOIN (
    SELECT h1.*, p.is_home AS program_home FROM programs p RIGHT JOIN (
      SELECT h0.*, f.has_played FROM followed f RIGHT JOIN (SELECT * FROM asked WHERE time >= $from) h0
        ON f.session = h0.session AND f.hour = h0.hour
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
