/*
name: home_hours
description: >-
  Programs (JA4) and networks of sessions that were granted a licence in this hour or the eight before: where members are at
  home. Only on days too young to tell strangers: those that no third to ninth day before is known of. Empty on all other days.
version: 1
grain: hour
time: hour
interval: hour
keys: [hour, ja4, asn]
inputs: [requests, seen_clients]
retention: { keep_days: 35 }
batch_rows: 1000000
*/
WITH settled AS (
  SELECT day + later AS day
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
    r.time, r.ja4, coalesce(r.asn, -1) AS asn, hash64(r.session) AS session, date_bin(INTERVAL '1 hour', r.time) AS hour,
    r.status < 400 AND (r.route LIKE '%licence%' OR r.route LIKE '%license%') AS granted
  FROM young y JOIN (
    SELECT * FROM requests WHERE time >= $from - INTERVAL '8 hours' AND time < $to AND session IS NOT NULL
  ) r ON y.day = date_bin(INTERVAL '1 day', r.time)
), followed AS (
  SELECT DISTINCT session, hour + later AS hour
  FROM (SELECT session, hour FROM asked WHERE granted) p
  CROSS JOIN (VALUES (INTERVAL '0 hours'), (INTERVAL '1 hour'), (INTERVAL '2 hours'), (INTERVAL '3 hours'), (INTERVAL '4 hours'), (INTERVAL '5 hours'), (INTERVAL '6 hours'), (INTERVAL '7 hours'), (INTERVAL '8 hours')) AS more (later)
)
SELECT DISTINCT a.hour, a.ja4, a.asn
FROM followed f JOIN (SELECT * FROM asked WHERE time >= $from) a ON a.session = f.session AND a.hour = f.hour
