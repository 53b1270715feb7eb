/*
name: playback_minutes
description: Starts, stops and failures of playback per minute and country, with the seconds watched.
version: 1
grain: minute
time: minute
interval: hour
keys: [minute, country]
inputs: [playbacks]
counts: events
retention: { keep_days: 1100 }
*/
SELECT
  date_bin(INTERVAL '1 minute', time) AS minute,
  coalesce(country, '') AS country,
  count(*) AS events,
  count(*) FILTER (WHERE event = 'start') AS starts,
  count(*) FILTER (WHERE event = 'stop') AS stops,
  count(*) FILTER (WHERE event = 'fail') AS failures,
  sum(watched_s) AS watched_s
FROM playbacks
WHERE time >= $from AND time < $to
GROUP BY 1, 2
