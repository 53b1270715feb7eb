//! Alerts: rules over live surges, sealed values and the stream itself become messages, each said once.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use fishweir_labels::{LiveEvent, rule_book, rule_book_sql};
use fishweir_metrics::{DAY_US, Evaluator, Interval, PipelineError, time_literal};
use fishweir_report::amount;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::alert_rules::{AlertRule, Trigger};
use crate::outbox::{Message, Outbox};

const HOUR_US: i64 = 3_600_000_000;
/// Sealed surges and findings older than this are no news.
const NEWS_US: i64 = 26 * HOUR_US;
/// Closed alerts are shown this long.
const CLOSED_KEPT: usize = 50;
const RULE_DAYS: i64 = 28;
/// Sealed surges may begin this much before or after the live one that they are.
const SAME_US: i64 = 300_000_000;

/// One thing that a rule holds to be so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alert {
    pub(crate) rule: String,
    pub(crate) subject: String,
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) severity: String,
    pub(crate) opened_us: i64,
    pub(crate) said_us: i64,
    pub(crate) closed_us: Option<i64>,
    /// Start of the surge it is about, to know it again on the sealed path.
    #[serde(default)]
    pub(crate) about_us: Option<i64>,
    #[serde(default)]
    pub(crate) silenced: bool,
}

/// Nobody is told about a rule, or one subject of it, until then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Silence {
    pub(crate) rule: String,
    pub(crate) subject: Option<String>,
    pub(crate) until_us: i64,
    pub(crate) by: String,
}

#[derive(Default, Serialize, Deserialize)]
struct State {
    open: BTreeMap<String, Alert>,
    closed: Vec<Alert>,
    silences: Vec<Silence>,
    /// Looks in a row that disagree with what is said, by rule and subject.
    streaks: BTreeMap<String, u32>,
    #[serde(default)]
    digest: String,
}

/// What a rule sees of one subject.
struct Sight {
    subject: String,
    /// `Some(true)` opens, `Some(false)` closes, `None` leaves it.
    holds: Option<bool>,
    text: String,
    link: String,
    about_us: Option<i64>,
}

/// The alerts of a project.
pub(crate) struct Alerts {
    pub(crate) rules: Vec<AlertRule>,
    outbox: Outbox,
    file: PathBuf,
    state: Mutex<State>,
    base: Mutex<String>,
}

impl Alerts {
    pub(crate) fn open(folder: &Path, rules: Vec<AlertRule>, outbox: Outbox) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let file = folder.join("state");
        let state = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => State::default(),
            Err(e) => return Err(e),
        };
        Ok(Self { rules, outbox, file, state: Mutex::new(state), base: Mutex::default() })
    }

    /// Sets the address that links in messages begin with.
    pub(crate) fn set_base(&self, base: &str) {
        if let Ok(mut b) = self.base.lock() {
            base.clone_into(&mut b);
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.outbox.waiting()
    }

    pub(crate) async fn flush(&self, now_us: i64) {
        self.outbox.flush(now_us).await;
    }

    /// Returns open alerts, closed ones (the newest first) and silences.
    pub(crate) fn shown(&self, now_us: i64) -> (Vec<Alert>, Vec<Alert>, Vec<Silence>) {
        let Ok(s) = self.state.lock() else { return Default::default() };
        let silences = s.silences.iter().filter(|x| x.until_us > now_us).cloned().collect();
        (s.open.values().cloned().collect(), s.closed.iter().rev().cloned().collect(), silences)
    }

    pub(crate) fn silence(&self, silence: Silence) {
        if let Ok(mut s) = self.state.lock() {
            s.silences.retain(|x| x.rule != silence.rule || x.subject != silence.subject);
            s.silences.push(silence);
            self.save(&s);
        }
    }

    /// Takes what the live path says.
    #[expect(clippy::cast_precision_loss, reason = "minutes")]
    pub(crate) fn live(&self, e: &LiveEvent, now_us: i64) {
        let over = matches!(e.event, "close" | "withdrawn");
        for rule in self.rules.iter().filter(|r| r.on == Trigger::Incident) {
            let minutes = ((e.time_us - e.start_us).max(0) as f64 / 60e6).max(1.0);
            let meant = rule.means(e.kind, e.p_attack, Some(e.excess_requests / minutes));
            let p = e.p_attack.map_or("unknown".to_owned(), |p| amount(p, "share"));
            let stopped = e.stopped_share.map_or("unknown".to_owned(), |s| amount(s, "share"));
            let sight = Sight {
                subject: e.incident_id.clone(),
                holds: if over { Some(false) } else { meant.then_some(true) },
                text: format!(
                    "{} on {}: {} above expectation, attack with {p}, stopped {stopped}",
                    e.kind,
                    e.routes.join(" "),
                    amount(e.excess_requests, "requests")
                ),
                link: "/operations".to_owned(),
                about_us: Some(e.start_us),
            };
            self.see(rule, vec![sight], now_us, false);
        }
    }

    /// Takes how long each stream has been silent: name, microseconds since its last event.
    pub(crate) fn streams(&self, silent: &[(String, i64)], now_us: i64) {
        for rule in self.rules.iter().filter(|r| r.on == Trigger::StreamStopped) {
            let limit = i64::from(rule.minutes) * 60_000_000;
            let sights = silent.iter().map(|(stream, us)| Sight {
                subject: stream.clone(),
                holds: Some(*us > limit),
                text: format!("no event of `{stream}` for {} min", us / 60_000_000),
                link: "/operations".to_owned(),
                about_us: None,
            });
            self.see(rule, sights.collect(), now_us, true);
        }
    }

    /// Looks at the sealed tables.
    pub(crate) async fn sealed(&self, evaluator: &Evaluator, now_us: i64) {
        for rule in &self.rules {
            let sights = match rule.on {
                Trigger::Incident => self.incidents(rule, evaluator, now_us).await,
                Trigger::Metric => metric(rule, evaluator).await,
                Trigger::RuleGoneBad => rules_gone_bad(rule, evaluator).await,
                Trigger::Finding => findings(rule, evaluator, now_us).await,
                Trigger::CoverageFell => coverage(rule, evaluator).await,
                Trigger::StreamStopped => continue,
            };
            match sights {
                Ok(sights) => self.see(rule, sights, now_us, rule.on != Trigger::Incident),
                Err(e) => eprintln!("alert rule `{}` could not look: {e}", rule.name),
            }
        }
    }

    // Sealed surges of today that the live path did not tell of.
    async fn incidents(
        &self,
        rule: &AlertRule,
        evaluator: &Evaluator,
        now_us: i64,
    ) -> Result<Vec<Sight>, PipelineError> {
        if !evaluator.has_table("dos_incidents") {
            return Ok(Vec::new());
        }
        let sql = format!(
            "SELECT incident_id, kind, routes, excess_requests, excess_requests / nullif(duration_s, 0) * 60 AS per_minute, p_attack, stopped_share, CAST(start AS BIGINT) AS us FROM dos_incidents WHERE start >= {} ORDER BY start",
            time_literal(now_us - NEWS_US)
        );
        let rows = evaluator.rows(&sql).await?;
        let told: Vec<i64> = self.state.lock().map_or_else(
            |_| Vec::new(),
            |s| {
                s.open
                    .values()
                    .chain(&s.closed)
                    .filter(|a| a.rule == rule.name)
                    .filter_map(|a| a.about_us)
                    .collect()
            },
        );
        let sights = rows.iter().filter(|r| {
            let us = r.get("us").and_then(Value::as_i64).unwrap_or(0);
            let number = |k: &str| r.get(k).and_then(Value::as_f64);
            let meant = rule.means(&text(r, "kind"), number("p_attack"), number("per_minute"));
            meant && told.iter().all(|t| (t - us).abs() > SAME_US)
        });
        Ok(sights
            .map(|r| Sight {
                subject: text(r, "incident_id"),
                holds: Some(true),
                text: format!(
                    "{} on {}: {} above expectation (found in the sealed minutes)",
                    text(r, "kind"),
                    text(r, "routes"),
                    r.get("excess_requests")
                        .and_then(Value::as_f64)
                        .map_or("unknown".to_owned(), |v| amount(v, "requests"))
                ),
                link: format!("/incidents/{}", text(r, "incident_id")),
                about_us: r.get("us").and_then(Value::as_i64),
            })
            .collect())
    }

    // Holds what a rule sees against what is said of it. With `whole` a subject that is not seen any
    // more is over.
    fn see(&self, rule: &AlertRule, mut sights: Vec<Sight>, now_us: i64, whole: bool) {
        let Ok(mut state) = self.state.lock() else { return };
        let prefix = format!("{}/", rule.name);
        if whole {
            for (key, a) in state.open.range(prefix.clone()..) {
                if !key.starts_with(&prefix) {
                    break;
                }
                if !sights.iter().any(|s| s.subject == a.subject) {
                    sights.push(Sight {
                        subject: a.subject.clone(),
                        holds: Some(false),
                        text: a.text.clone(),
                        link: String::new(),
                        about_us: a.about_us,
                    });
                }
            }
        }
        let mut moved = false;
        for s in sights {
            moved |= self.settle(&mut state, rule, &prefix, s, now_us);
        }
        if moved {
            self.save(&state);
        }
    }

    fn settle(&self, state: &mut State, rule: &AlertRule, prefix: &str, s: Sight, now_us: i64) -> bool {
        let key = format!("{prefix}{}", s.subject);
        let is_open = state.open.contains_key(&key);
        let Some(holds) = s.holds else { return false };
        if holds == is_open {
            state.streaks.remove(&key);
            return self.repeat(state, rule, &key, &s, now_us);
        }
        let streak = state.streaks.entry(key.clone()).or_default();
        *streak += 1;
        if *streak < rule.times.max(1) {
            return true;
        }
        state.streaks.remove(&key);
        let silenced = state.silences.iter().any(|x| {
            x.until_us > now_us && x.rule == rule.name && x.subject.as_ref().is_none_or(|o| *o == s.subject)
        });
        let mut alert = state.open.remove(&key).unwrap_or_else(|| Alert {
            rule: rule.name.clone(),
            subject: s.subject.clone(),
            title: rule.title.clone(),
            text: s.text.clone(),
            severity: word(rule.severity),
            opened_us: now_us,
            said_us: now_us,
            closed_us: None,
            about_us: s.about_us,
            silenced,
        });
        if holds {
            if !silenced {
                self.say(rule, &alert, "open", &s.link, now_us);
            }
            state.open.insert(key, alert);
        } else {
            alert.closed_us = Some(now_us);
            if !alert.silenced {
                self.say(rule, &alert, "closed", &s.link, now_us);
            }
            state.closed.push(alert);
            let more = state.closed.len().saturating_sub(CLOSED_KEPT);
            state.closed.drain(..more);
        }
        true
    }

    fn repeat(&self, state: &mut State, rule: &AlertRule, key: &str, s: &Sight, now_us: i64) -> bool {
        let Some(alert) = state.open.get_mut(key) else { return false };
        alert.text.clone_from(&s.text);
        let due = rule.repeat_h > 0 && now_us - alert.said_us >= i64::from(rule.repeat_h) * HOUR_US;
        if due && !alert.silenced {
            alert.said_us = now_us;
            let alert = alert.clone();
            self.say(rule, &alert, "still open", &s.link, now_us);
        }
        due
    }

    fn say(&self, rule: &AlertRule, a: &Alert, state: &str, link: &str, now_us: i64) {
        let base = self.base.lock().map(|b| b.clone()).unwrap_or_default();
        let link = if link.is_empty() { String::new() } else { format!("{base}{link}") };
        let body = json!({
            "id": format!("{}/{}/{}/{state}", a.rule, a.subject, a.opened_us),
            "rule": a.rule, "subject": a.subject, "state": state, "severity": a.severity,
            "title": a.title, "text": a.text, "action": rule.action, "link": link,
            "opened_at": stamp(a.opened_us), "at": stamp(now_us),
        });
        self.send(&rule.to, &body, now_us);
    }

    fn send(&self, to: &[String], body: &Value, now_us: i64) {
        for to in to {
            let message = Message {
                id: body["id"].as_str().unwrap_or_default().to_owned(),
                to: to.clone(),
                body: body.clone(),
                made_us: now_us,
                tries: 0,
                not_before_us: 0,
            };
            if let Err(e) = self.outbox.put(&message) {
                eprintln!("an alert cannot be kept: {e}");
            }
        }
    }

    /// Sends a digest once under its name.
    pub(crate) fn digest(&self, name: &str, to: &[String], title: &str, text: &str, now_us: i64) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.digest == name {
            return;
        }
        name.clone_into(&mut state.digest);
        let base = self.base.lock().map(|b| b.clone()).unwrap_or_default();
        let body = json!({
            "id": format!("digest/{name}"), "rule": "digest", "subject": name, "state": "digest",
            "severity": "info", "title": title, "text": text, "action": "", "link": base, "at": stamp(now_us),
        });
        self.send(to, &body, now_us);
        self.save(&state);
    }

    // WHY a draft: half a state after a crash would forget what was said.
    fn save(&self, state: &State) {
        let draft = self.file.with_extension("draft");
        let written = serde_json::to_vec(state).map_err(io::Error::from).and_then(|bytes| {
            let mut file = fs::File::create(&draft)?;
            file.write_all(&bytes)?;
            file.sync_all()?;
            fs::rename(&draft, &self.file)
        });
        if let Err(e) = written {
            eprintln!("the state of the alerts cannot be kept: {e}");
        }
    }
}

fn word(severity: crate::alert_rules::Severity) -> String {
    serde_json::to_value(severity).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn stamp(us: i64) -> String {
    chrono::DateTime::from_timestamp_micros(us).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

fn text(r: &Map<String, Value>, key: &str) -> String {
    r.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn last_days(evaluator: &Evaluator, stream: &str, days: i64) -> Option<Interval> {
    let end = evaluator.sealed_span(stream)?.to_us;
    Some(Interval::new(end - days * DAY_US, end))
}

// An unknown value neither opens nor closes anything.
async fn metric(rule: &AlertRule, evaluator: &Evaluator) -> Result<Vec<Sight>, PipelineError> {
    let Some(m) = rule.metric.as_ref().and_then(|name| evaluator.metrics().get(name)) else {
        return Err(PipelineError::Query {
            what: rule.metric.clone().unwrap_or_default(),
            cause: "no metric has this name".to_owned(),
        });
    };
    let Some(period) = last_days(evaluator, &m.stream, i64::from(rule.days)) else { return Ok(Vec::new()) };
    let v = evaluator.value(&m.name, period).await?;
    let holds = v.value.and_then(|x| match (rule.opens(x), rule.closes(x)) {
        (true, _) => Some(true),
        (false, true) => Some(false),
        (false, false) => None,
    });
    let shown = v.value.map_or("unknown".to_owned(), |x| amount(x, &m.unit));
    Ok(vec![Sight {
        subject: m.name.clone(),
        holds,
        text: format!("{}: {shown} over the last {} days", m.title, rule.days),
        link: format!("/catalogue/{}", m.name),
        about_us: None,
    }])
}

async fn rules_gone_bad(rule: &AlertRule, evaluator: &Evaluator) -> Result<Vec<Sight>, PipelineError> {
    let bound = rule.above.unwrap_or(0.5);
    let Some(span) = last_days(evaluator, "requests", RULE_DAYS) else { return Ok(Vec::new()) };
    if !evaluator.has_table("rule_outcomes") {
        return Ok(Vec::new());
    }
    let [outcomes, overlaps] = rule_book_sql(span);
    let book = rule_book(evaluator.rows(&outcomes).await?, &evaluator.rows(&overlaps).await?, span);
    let sight = |r: &fishweir_labels::Rule| Sight {
        subject: format!("{} v{}", r.rule, r.rule_version),
        // Bad when even the best that is likely is too often wrong.
        // A rule of which nothing is known any more is neither.
        holds: r.precision_high.map(|p| 1.0 - p > bound),
        text: format!(
            "{} v{}: {} of its hits were right [{} at most], {} of members stopped",
            r.rule,
            r.rule_version,
            r.precision.map_or("unknown".to_owned(), |p| amount(p, "share")),
            r.precision_high.map_or("unknown".to_owned(), |p| amount(p, "share")),
            amount(r.good_stopped, "requests")
        ),
        link: format!("/rules/{}", r.rule),
        about_us: None,
    };
    Ok(book.iter().filter(|r| r.mode == "enforce").map(sight).collect())
}

async fn findings(rule: &AlertRule, evaluator: &Evaluator, now_us: i64) -> Result<Vec<Sight>, PipelineError> {
    if !evaluator.has_table("findings") {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT kind, subject, min(detail) AS detail FROM findings WHERE first_seen >= {} GROUP BY 1, 2 ORDER BY 1, 2",
        time_literal(now_us - NEWS_US)
    );
    let rows = evaluator.rows(&sql).await?;
    let meant = rows.iter().filter(|r| rule.kinds.is_empty() || rule.kinds.contains(&text(r, "kind")));
    Ok(meant
        .map(|r| Sight {
            subject: format!("{} {}", text(r, "kind"), text(r, "subject")),
            holds: Some(true),
            text: text(r, "detail"),
            link: "/models".to_owned(),
            about_us: None,
        })
        .collect())
}

async fn coverage(rule: &AlertRule, evaluator: &Evaluator) -> Result<Vec<Sight>, PipelineError> {
    let Some(period) = last_days(evaluator, "requests", i64::from(rule.days)) else { return Ok(Vec::new()) };
    let Some(m) = evaluator.metrics().values().find(|m| m.stream == "requests" && m.name == "requests")
    else {
        return Ok(Vec::new());
    };
    let v = evaluator.value(&m.name, period).await?;
    let below = rule.below.unwrap_or(0.0);
    let holds = if v.coverage < below { Some(true) } else { rule.closes(v.coverage).then_some(false) };
    Ok(vec![Sight {
        subject: "requests".to_owned(),
        holds,
        text: format!("{} of the last {} days holds sealed data", amount(v.coverage, "share"), rule.days),
        link: "/models".to_owned(),
        about_us: None,
    }])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alerts(dir: &Path, yaml: &str) -> Alerts {
        let rules = crate::alert_rules::load_alerts(&[("a".to_owned(), yaml.to_owned())], &[]).unwrap();
        let outbox = Outbox::open(&dir.join("out"), Vec::new()).unwrap();
        Alerts::open(dir, rules, outbox).unwrap()
    }

    const ATTACK: &str = "name: attack\ntitle: Attack\naction: look\non: incident\nkinds: [attack]\n";

    fn event(event: &'static str, kind: &'static str) -> LiveEvent {
        LiveEvent {
            event,
            incident_id: "dos-1".to_owned(),
            time_us: 0,
            start_us: 0,
            end_us: 0,
            kind,
            p_attack: Some(0.9),
            found_by: String::new(),
            routes: vec!["/login".to_owned()],
            requests: 1.0,
            excess_requests: 1.0,
            stopped_share: None,
            stranger_clients: None,
        }
    }

    #[test]
    fn an_attack_is_said_once_and_once_more_when_it_is_over() {
        let dir = tempfile::tempdir().unwrap();
        let a = alerts(dir.path(), ATTACK);
        a.live(&event("open", "launch"), 1);
        assert_eq!(a.waiting(), 0, "a crowd is nobody's alarm");
        a.live(&event("update", "attack"), 2);
        a.live(&event("update", "attack"), 3);
        assert_eq!(a.waiting(), 1);
        // Nor does a restart say it again.
        let a = alerts(dir.path(), ATTACK);
        a.live(&event("update", "attack"), 4);
        assert_eq!(a.waiting(), 1);
        a.live(&event("close", "attack"), 5);
        assert_eq!((a.waiting(), a.shown(6).0.len(), a.shown(6).1.len()), (2, 0, 1));
    }

    #[test]
    fn a_digest_goes_out_once_a_week_whatever_is_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let to = ["stdout".to_owned()];
        alerts(dir.path(), ATTACK).digest("2026-W40", &to, "t", "x", 1);
        let a = alerts(dir.path(), ATTACK);
        a.digest("2026-W40", &to, "t", "x", 2);
        assert_eq!(a.waiting(), 1);
        a.digest("2026-W41", &to, "t", "x", 3);
        assert_eq!(a.waiting(), 2);
    }

    #[test]
    fn a_silence_keeps_quiet_about_opening_and_closing() {
        let dir = tempfile::tempdir().unwrap();
        let a = alerts(dir.path(), ATTACK);
        a.silence(Silence { rule: "attack".to_owned(), subject: None, until_us: 100, by: "me".to_owned() });
        a.live(&event("open", "attack"), 1);
        a.live(&event("close", "attack"), 200);
        assert_eq!(a.waiting(), 0);
    }

    #[test]
    fn a_stream_must_be_silent_as_often_as_the_rule_says() {
        let dir = tempfile::tempdir().unwrap();
        let yaml = "name: s\ntitle: S\naction: look\non: stream_stopped\nminutes: 5\ntimes: 2\n";
        let a = alerts(dir.path(), yaml);
        let silent = [("requests".to_owned(), 400_000_000)];
        a.streams(&silent, 1);
        assert_eq!(a.waiting(), 0);
        a.streams(&silent, 2);
        assert_eq!(a.waiting(), 1);
    }
}
