/*
name: stranger_minutes
description: >-
  Requests of strangers per minute, by route, TLS fingerprint and network. A stranger is a client (device, or address where
  no device is known) that did not come from this network on any of the second to the eighth day before, in a session that
  was granted no licence in this hour or the eight before. Yesterday does not count, so that an attack over midnight stays
  strange. Whom a defence refuses the licence cannot show that he would watch: where the device is known from any network,
  the refusal counts like a licence. `strangers` is null on days before which none of those seven days is known. `arrivals`
  counts each stranger who did not come in the eight hours before once per value and hour, in the minute in which he
  came with it first: a visitor who clicks a dozen times is one.
version: 4
grain: minute
time: minute
interval: hour
keys: [minute, dimension, value]
inputs: [requests, seen_clients]
retention: { keep_days: 35 }
batch_rows: 1000000
*/
WITH hits AS (
  SELECT
    date_bin(INTERVAL '1 minute', time) AS minute,
    date_bin(INTERVAL '1 hour', time) AS hour,
    date_bin(INTERVAL '1 day', time) AS day,
    route, ja4, status,
    hash64(session) AS session,
    hash64(coalesce(device, ip, '')) AS client,
    coalesce(asn, -1) AS asn
  FROM requests
  WHERE time >= $from AND time < $to
), refused AS (
  SELECT DISTINCT
    hash64(session) AS session, date_bin(INTERVAL '1 hour', time) AS hour, date_bin(INTERVAL '1 day', time) AS day,
    hash64(coalesce(device, ip, '')) AS client
  FROM requests
  WHERE time >= $from - INTERVAL '8 hours' AND time < $to
    AND session IS NOT NULL AND (route LIKE '%licence%' OR route LIKE '%license%') AND status >= 400
    AND coalesce(mode, 'enforce') = 'enforce'
    AND (action IN ('block', 'limit') OR (action IN ('challenge', 'step_up') AND coalesce(challenge_result, '') <> 'passed'))
), played AS (
  SELECT DISTINCT session, hour FROM (
    SELECT hash64(session) AS session, date_bin(INTERVAL '1 hour', time) AS hour FROM requests
    WHERE time >= $from - INTERVAL '8 hours' AND time < $to
      AND session IS NOT NULL AND (route LIKE '%licence%' OR route LIKE '%license%') AND status < 400
    UNION ALL
    SELECT r.session, r.hour FROM refused r JOIN seen_clients s ON s.client = r.client
    WHERE s.hour >= r.day - INTERVAL '8 days' AND s.hour < r.day - INTERVAL '1 day'
      AND s.hour >= $from - INTERVAL '9 days' AND s.hour < $to - INTERVAL '1 day'
  ) asked
), followed AS (
  -- Whole hours, so that the cut of a run into steps changes nothing.
  SELECT DISTINCT v.session, v.hour, true AS has_played
  FROM (SELECT DISTINCT session, hour FROM hits WHERE session IS NOT NULL) v JOIN played p ON p.session = v.session
  WHERE p.hour <= v.hour AND p.hour >= v.hour - INTERVAL '8 hours'
), clients AS (
  SELECT DISTINCT day, client, asn FROM hits
), known AS (
  -- Only clients of this step are looked up, so that a step needs no more memory than its own rows.
  SELECT DISTINCT c.day, c.client, c.asn, true AS is_known
  FROM clients c JOIN seen_clients s ON s.client = c.client AND s.asn = c.asn
  WHERE s.hour >= c.day - INTERVAL '8 days' AND s.hour < c.day - INTERVAL '1 day'
    AND s.hour >= $from - INTERVAL '9 days' AND s.hour < $to - INTERVAL '1 day'
), told AS (
  -- Per day: after a gap in the data nobody is known, and so nobody is strange.
  SELECT DISTINCT day + later AS day, true AS is_told
  FROM (
    SELECT DISTINCT date_bin(INTERVAL '1 day', hour) AS day FROM seen_clients
    WHERE hour >= $from - INTERVAL '9 days' AND hour < $to - INTERVAL '1 day'
  ) days CROSS JOIN (VALUES (INTERVAL '2 days'), (INTERVAL '3 days'), (INTERVAL '4 days'), (INTERVAL '5 days'), (INTERVAL '6 days'), (INTERVAL '7 days'), (INTERVAL '8 days')) AS more (later)
), marked AS (
  -- The small sides stand on the left: that is the side a join keeps in memory. Markers of their own say whether a join
  -- found anything: a key asked for null is taken for the other side's key by the optimizer.
  SELECT
    h.minute, h.hour, h.client, h.route, h.ja4, CAST(h.asn AS VARCHAR) AS asn,
    h.is_told IS NOT NULL AS told,
    CASE WHEN h.is_known IS NULL AND f.has_played IS NULL THEN 1 ELSE 0 END AS strange
  FROM followed f
  RIGHT JOIN (
    SELECT h1.*, k0.is_known FROM known k0
    RIGHT JOIN (SELECT h0.*, t.is_told FROM told t RIGHT JOIN hits h0 ON t.day = h0.day) h1
      ON k0.day = h1.day AND k0.client = h1.client AND k0.asn = h1.asn
  ) h ON f.session = h.session AND f.hour = h.hour
), summed AS (
  SELECT
    minute,
    CASE WHEN grouping(route) = 0 THEN 'route' WHEN grouping(ja4) = 0 THEN 'ja4' ELSE 'asn' END AS dimension,
    coalesce(route, ja4, asn, '') AS value,
    count(*) AS requests,
    CASE WHEN bool_and(told) THEN sum(strange) END AS strangers
  FROM marked
  GROUP BY GROUPING SETS ((minute, route), (minute, ja4), (minute, asn))
  HAVING grouping(route) = 0 OR (bool_and(told) AND sum(strange) > 0)
), odd AS (
  SELECT minute, hour, client, route, ja4, asn FROM marked WHERE told AND strange = 1
), recent AS (
  SELECT DISTINCT c.hour, c.client, true AS is_recent
  FROM (SELECT DISTINCT hour, client FROM odd) c JOIN seen_clients s ON s.client = c.client
  WHERE s.hour >= c.hour - INTERVAL '8 hours' AND s.hour < c.hour
    AND s.hour >= $from - INTERVAL '8 hours' AND s.hour < $to
), came AS (
  SELECT
    CASE WHEN grouping(o.route) = 0 THEN 'route' WHEN grouping(o.ja4) = 0 THEN 'ja4' ELSE 'asn' END AS dimension,
    coalesce(o.route, o.ja4, o.asn, '') AS value,
    min(o.minute) AS minute
  FROM recent r RIGHT JOIN odd o ON r.hour = o.hour AND r.client = o.client
  WHERE r.is_recent IS NULL
  GROUP BY GROUPING SETS ((o.hour, o.client, o.route), (o.hour, o.client, o.ja4), (o.hour, o.client, o.asn))
), arrived AS (
  SELECT minute AS at, dimension AS kind, value AS mark, count(*) AS arrivals FROM came GROUP BY 1, 2, 3
)
SELECT
  s.minute, s.dimension, s.value, s.requests, s.strangers,
  CASE WHEN s.strangers IS NOT NULL THEN coalesce(a.arrivals, 0) END AS arrivals
FROM arrived a RIGHT JOIN summed s ON a.at = s.minute AND a.kind = s.dimension AND a.mark = s.value
