/*
name: account_episodes
description: >-
  Every day on which an account was used from a device or a network that it had not been used from in the six weeks before, or on
  which a known device spoke like another program (JA4) and looked at account pages without watching; with what is known of that
  use by the end of the day; what the labelling functions judge. Accounts first seen within the week
  before are left out; those never seen before are in it from the eighth day of data on, without `history_days`, unless they signed up
  on the day or the day before. Nothing later than the day is in it.
version: 5
grain: day
time: day
interval: day
keys: [day, account, device, asn, ja4]
inputs: [account_uses, account_logins, account_change_hours, contact_hours, leak_hours, login_campaign_attempts]
retention: { keep_days: 120 }
*/
WITH seen AS (
  SELECT * FROM account_uses WHERE day >= $from - INTERVAL '2 days' AND day < $to
), told AS (
  -- Days from which on an account that was never seen has been away, not just outside what is kept.
  SELECT DISTINCT d + 7 AS told_d, true AS is_told FROM account_uses WHERE day >= $from - INTERVAL '7 days' AND day < $to - INTERVAL '7 days'
), signed_up AS (
  SELECT DISTINCT account AS s_account, CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) + later AS s_d
  FROM account_change_hours CROSS JOIN (VALUES (0), (1)) AS more (later)
  WHERE hour >= $from - INTERVAL '1 day' AND hour < $to AND change = 'signup'
), fresh AS (
  -- An account that nobody had before is not taken by whoever made it, whatever they want with it.
  SELECT u.* FROM signed_up s RIGHT JOIN (
    SELECT x.*, t.is_told FROM told t RIGHT JOIN (
      -- Programs are renewed all the time: another one alone is looked at only where it did what thieves do.
      SELECT * FROM account_uses WHERE day >= $from AND day < $to AND (device_last IS NULL OR network_last IS NULL
        OR (new_program AND account_pages > 0 AND licences = 0))
    ) x ON t.told_d = x.d
  ) u ON s.s_account = u.account AND s.s_d = u.d
  WHERE u.account_first <= u.d - 7 OR (u.account_first IS NULL AND u.is_told IS NOT NULL AND s.s_account IS NULL)
), signed_in AS (
  -- Only accounts with an episode are looked up, before anything is summed.
  SELECT CAST(floor(CAST(l.hour AS BIGINT) / 86400000000) AS BIGINT) AS d, l.account, l.device, l.asn, min(l.identifier) AS identifier,
    sum(l.attempts) AS attempts, sum(l.successes) AS successes, sum(l.wrong) AS wrong, sum(l.challenges_passed) AS challenges_passed,
    sum(l.challenges_failed) AS challenges_failed, sum(l.breached) AS breached, sum(l.weak) AS weak, sum(l.with_mfa) AS with_mfa,
    max(CASE WHEN l.credential = 'partner' THEN 1 ELSE 0 END) AS partner
  FROM (SELECT DISTINCT account FROM fresh) a
  JOIN (SELECT * FROM account_logins WHERE hour >= $from AND hour < $to AND account IS NOT NULL) l ON l.account = a.account
  GROUP BY 1, 2, 3, 4
), devices AS (
  -- Pairs first, then their number: a set of accounts for each of many devices costs far more.
  SELECT d AS v_d, device AS v_device, count(*) AS device_accounts
  FROM (
    SELECT DISTINCT u.d, u.device, u.account FROM (SELECT DISTINCT device FROM fresh) a
    JOIN (SELECT d, device, account FROM account_uses WHERE day >= $from AND day < $to) u ON u.device = a.device
  ) p GROUP BY 1, 2
), networks AS (
  SELECT d AS n_d, asn AS n_asn, count(*) AS asn_accounts
  FROM (SELECT DISTINCT d, asn, account FROM account_uses WHERE day >= $from AND day < $to) p GROUP BY 1, 2
), tools AS (
  SELECT d AS t_d, ja4 AS t_ja4, count(*) AS ja4_accounts
  FROM (SELECT DISTINCT d, ja4, account FROM account_uses WHERE day >= $from AND day < $to) p GROUP BY 1, 2
), beside AS (
  -- What the account's known devices did on the same day, and how many new ones came in three days.
  SELECT f.d AS b_d, f.account AS b_account, f.device AS b_device, f.asn AS b_asn, f.ja4 AS b_ja4,
    sum(CASE WHEN s.d = f.d AND s.device_last IS NOT NULL AND s.device <> f.device THEN s.requests ELSE 0 END) AS known_requests,
    sum(CASE WHEN s.d = f.d AND s.device_last IS NOT NULL AND s.device <> f.device THEN s.licences ELSE 0 END) AS known_licences,
    max(CASE WHEN s.d = f.d AND s.device_last IS NOT NULL AND s.country <> f.country THEN 1 ELSE 0 END) AS known_elsewhere,
    max(CASE WHEN s.d = f.d AND s.device_last IS NOT NULL AND s.device <> f.device AND s.country = f.country AND s.asn = f.asn THEN 1 ELSE 0 END) AS known_here,
    max(CASE WHEN s.d = f.d AND s.device = f.device AND s.country <> f.country THEN 1 ELSE 0 END) AS same_device_elsewhere,
    max(CASE WHEN s.d = f.d AND s.device = f.device AND NOT s.new_program AND s.last_at > f.last_at THEN 1 ELSE 0 END) AS program_back,
    count(DISTINCT CASE WHEN s.device_last IS NULL THEN s.device END) AS new_devices_3d
  FROM fresh f JOIN seen s ON s.account = f.account AND s.d <= f.d AND s.d >= f.d - 2
  GROUP BY 1, 2, 3, 4, 5
), tried AS (
  -- Attempts of the week before on accounts with an episode; nothing else of them is asked for.
  SELECT CAST(floor(CAST(l.hour AS BIGINT) / 86400000000) AS BIGINT) AS d, l.account, l.device, l.asn,
    sum(l.attempts) AS attempts, sum(l.successes) AS successes
  FROM (SELECT DISTINCT account FROM fresh) a
  JOIN (SELECT * FROM account_logins WHERE hour >= $from - INTERVAL '7 days' AND hour < $to AND account IS NOT NULL) l ON l.account = a.account
  GROUP BY 1, 2, 3, 4
), failures AS (
  SELECT f.d AS x_d, f.account AS x_account, f.device AS x_device, f.asn AS x_asn,
    sum(CASE WHEN l.device = f.device THEN 0 ELSE l.attempts - l.successes END) AS others_failed_7d,
    count(DISTINCT CASE WHEN l.device <> f.device AND l.successes = 0 THEN l.device END) AS others_failing_devices_7d
  FROM (SELECT DISTINCT d, account, device, asn FROM fresh) f JOIN tried l ON l.account = f.account AND l.d <= f.d AND l.d >= f.d - 7
  GROUP BY 1, 2, 3, 4
), changes AS (
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) AS c_d, account AS c_account, device AS c_device,
    sum(CASE WHEN change = 'email' THEN changes ELSE 0 END) AS email_changes,
    sum(CASE WHEN change = 'password' AND actor = 'member' THEN changes ELSE 0 END) AS password_changes,
    sum(CASE WHEN change = 'logout_all' THEN changes ELSE 0 END) AS logouts_all,
    sum(CASE WHEN change IN ('plan', 'payment') THEN changes ELSE 0 END) AS payment_changes,
    sum(CASE WHEN change = 'reactivate' THEN changes ELSE 0 END) AS reactivations
  FROM account_change_hours WHERE hour >= $from AND hour < $to AND actor <> 'support' GROUP BY 1, 2, 3
), account_changed AS (
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) AS a_d, account AS a_account,
    sum(CASE WHEN actor = 'support' AND change = 'email' THEN changes ELSE 0 END) AS support_email_changes,
    sum(CASE WHEN change IN ('signup', 'reactivate') THEN changes ELSE 0 END) AS beginnings,
    sum(CASE WHEN change = 'password' AND actor = 'member' THEN changes ELSE 0 END) AS account_password_changes
  FROM account_change_hours WHERE hour >= $from - INTERVAL '1 day' AND hour < $to GROUP BY 1, 2
), helped AS (
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) AS h_d, account AS h_account, sum(contacts) AS sign_in_contacts
  FROM contact_hours WHERE hour >= $from - INTERVAL '1 day' AND hour < $to AND topic = 'cannot_sign_in' GROUP BY 1, 2
), leaked AS (
  SELECT identifier AS l_identifier, CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) AS l_d,
    min(vendor) AS vendor, bool_or(password_match) AS password_match
  FROM leak_hours WHERE hour >= $from - INTERVAL '60 days' AND hour < $to GROUP BY 1, 2
), leak_hits AS (
  SELECT s.d AS k_d, s.account AS k_account, s.device AS k_device, s.asn AS k_asn, min(s.d - l.l_d) AS leak_age_days,
    bool_or(l.password_match) AS leak_password_match, min(l.vendor) AS leak_vendor
  FROM leaked l JOIN signed_in s ON l.l_identifier = s.identifier AND l.l_d <= s.d AND l.l_d >= s.d - 60
  GROUP BY 1, 2, 3, 4
), campaigns AS (
  SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) AS g_d, account AS g_account, device AS g_device, asn AS g_asn,
    min(campaign_id) AS campaign_id, sum(successes) AS campaign_successes
  FROM login_campaign_attempts WHERE hour >= $from AND hour < $to AND account IS NOT NULL GROUP BY 1, 2, 3, 4
), campaign_accounts AS (
  SELECT f.d AS y_d, f.account AS y_account, f.device AS y_device, f.asn AS y_asn, min(g.campaign_id) AS account_campaign_id
  FROM (SELECT DISTINCT d, account, device, asn FROM fresh) f JOIN (
    SELECT CAST(floor(CAST(hour AS BIGINT) / 86400000000) AS BIGINT) AS g_d, account, campaign_id
    FROM login_campaign_attempts WHERE hour >= $from - INTERVAL '7 days' AND hour < $to AND account IS NOT NULL AND successes > 0
  ) g ON g.account = f.account AND g.g_d <= f.d AND g.g_d >= f.d - 7
  GROUP BY 1, 2, 3, 4
)
SELECT
  date_bin(INTERVAL '1 day', f.first_at) AS day,
  concat('ep-', CAST(hash64(concat(CAST(f.account AS VARCHAR), '/', CAST(f.device AS VARCHAR), '/', CAST(f.asn AS VARCHAR), '/', CAST(f.d AS VARCHAR))) AS VARCHAR)) AS episode_id,
  f.account, f.account_id, f.device, f.asn, f.country, f.ja4, f.first_at, f.last_at,
  f.device_last IS NULL AS new_device,
  f.network_last IS NULL AS new_network,
  f.country_last IS NULL AS new_country,
  f.new_program,
  coalesce(b.program_back, 0) = 1 AS program_back,
  f.d - f.account_first AS history_days,
  f.d - f.account_last AS idle_days,
  f.network_last - f.network_first AS network_span_days,
  f.requests, f.served, f.refused, f.licences, f.account_pages, f.routes, f.sessions, f.hours,
  CAST((CAST(f.last_at AS BIGINT) - CAST(f.first_at AS BIGINT)) / 1000000 AS BIGINT) AS span_s,
  CAST(CAST(f.first_at AS BIGINT) / 3600000000 % 24 AS BIGINT) AS hour_utc,
  v.device_accounts, n.asn_accounts, t.ja4_accounts,
  coalesce(b.known_requests, 0) AS known_requests, coalesce(b.known_licences, 0) AS known_licences,
  coalesce(b.known_elsewhere, 0) = 1 AS known_elsewhere, coalesce(b.known_here, 0) = 1 AS known_here,
  coalesce(b.same_device_elsewhere, 0) = 1 AS same_device_elsewhere, coalesce(b.new_devices_3d, 0) AS new_devices_3d,
  coalesce(s.attempts, 0) AS sign_in_attempts, coalesce(s.successes, 0) AS sign_ins, coalesce(s.wrong, 0) AS sign_in_wrong,
  coalesce(s.challenges_passed, 0) AS challenges_passed, coalesce(s.challenges_failed, 0) AS challenges_failed,
  coalesce(s.breached, 0) > 0 AS breached, coalesce(s.weak, 0) > 0 AS weak, coalesce(s.with_mfa, 0) > 0 AS with_mfa,
  coalesce(s.partner, 0) = 1 AS partner, s.identifier,
  coalesce(x.others_failed_7d, 0) AS others_failed_7d, coalesce(x.others_failing_devices_7d, 0) AS others_failing_devices_7d,
  coalesce(c.email_changes, 0) AS email_changes, coalesce(c.password_changes, 0) AS password_changes,
  coalesce(c.logouts_all, 0) AS logouts_all, coalesce(c.payment_changes, 0) AS payment_changes, coalesce(c.reactivations, 0) AS reactivations,
  coalesce(a.support_email_changes, 0) AS support_email_changes, coalesce(a.beginnings, 0) AS beginnings,
  coalesce(a.account_password_changes, 0) AS account_password_changes,
  coalesce(h.sign_in_contacts, 0) AS sign_in_contacts,
  k.leak_age_days, k.leak_password_match, k.leak_vendor,
  g.campaign_id, coalesce(g.campaign_successes, 0) AS campaign_successes, y.account_campaign_id
FROM fresh f
LEFT JOIN devices v ON v.v_d = f.d AND v.v_device = f.device
LEFT JOIN networks n ON n.n_d = f.d AND n.n_asn = f.asn
LEFT JOIN tools t ON t.t_d = f.d AND t.t_ja4 = f.ja4
LEFT JOIN beside b ON b.b_d = f.d AND b.b_account = f.account AND b.b_device = f.device AND b.b_asn = f.asn AND b.b_ja4 = f.ja4
LEFT JOIN signed_in s ON s.d = f.d AND s.account = f.account AND s.device = f.device AND s.asn = f.asn
LEFT JOIN failures x ON x.x_d = f.d AND x.x_account = f.account AND x.x_device = f.device AND x.x_asn = f.asn
LEFT JOIN changes c ON c.c_d = f.d AND c.c_account = f.account AND c.c_device = f.device
LEFT JOIN account_changed a ON a.a_d = f.d AND a.a_account = f.account
LEFT JOIN helped h ON h.h_d = f.d AND h.h_account = f.account
LEFT JOIN leak_hits k ON k.k_d = f.d AND k.k_account = f.account AND k.k_device = f.device AND k.k_asn = f.asn
LEFT JOIN campaigns g ON g.g_d = f.d AND g.g_account = f.account AND g.g_device = f.device AND g.g_asn = f.asn
LEFT JOIN campaign_accounts y ON y.y_d = f.d AND y.y_account = f.account AND y.y_device = f.device AND y.y_asn = f.asn
