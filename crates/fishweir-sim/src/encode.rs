//! Rows as Arrow batches in the native format.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::abuse::{LICENCE_ENCODING, LICENCE_OFFLINE, LICENCE_PREFETCH, WRONG_SYSTEM};
use crate::config::{Action, Mode};
use crate::defence::Rule;
use crate::device::{self, KINDS};
use crate::intent::{Intent, LOGIN_BUCKET, LOGIN_LEAKED, Route};
use crate::network::{self, COUNTRIES};
use crate::random::Key;
use crate::rows::{
    Challenge, Change, Contact, Decision, Health, Leak, Licence, Login, Note, Playback, Request, Verdict,
};
use crate::takeover::{account_name, account_number};
use crate::truth::{DecisionTruth, EventTruth};
use crate::world::{NOBODY, PARTNER, SHUFFLED, World};

/// Words that stand in columns again and again.
#[derive(Debug)]
pub(crate) struct Words {
    agents: ArrayRef,
    ja4: ArrayRef,
    countries: ArrayRef,
    pub(crate) defences: ArrayRef,
    pub(crate) rules: ArrayRef,
    pub(crate) versions: ArrayRef,
    services: ArrayRef,
    methods: ArrayRef,
    actions: ArrayRef,
    modes: ArrayRef,
    challenges: ArrayRef,
    holdout_share: f64,
}

const ACTIONS: [Action; 5] = [Action::Log, Action::Challenge, Action::StepUp, Action::Limit, Action::Block];
const MODES: [Mode; 3] = [Mode::Enforce, Mode::Shadow, Mode::Holdout];
const CHALLENGES: [Challenge; 3] = [Challenge::Passed, Challenge::Failed, Challenge::Abandoned];

fn index<T: PartialEq>(all: &[T], one: &T) -> i32 {
    all.iter().position(|a| a == one).unwrap_or(0) as i32
}

type Columns = Vec<(&'static str, ArrayRef)>;

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(values.map(Some).collect::<StringArray>())
}

impl Words {
    pub(crate) fn new(key: Key, rules: &[Rule], holdout_share: f64) -> Self {
        let marks: Vec<(String, String)> = (0..device::SOFTWARE).map(|s| device::marks(key, s)).collect();
        Self {
            agents: texts(marks.iter().map(|m| m.0.as_str())),
            ja4: texts(marks.iter().map(|m| m.1.as_str())),
            countries: texts(COUNTRIES.iter().map(|c| c.code)),
            defences: texts(rules.iter().map(|r| r.defence.as_str())),
            rules: texts(rules.iter().map(|r| r.name.as_str())),
            versions: texts(rules.iter().map(|r| r.version.as_str())),
            services: texts(Route::ALL.iter().map(|r| r.facts().service)),
            methods: texts(Route::ALL.iter().map(|r| r.facts().method)),
            actions: texts(ACTIONS.iter().map(|a| a.name())),
            modes: texts(MODES.iter().map(|m| m.name())),
            challenges: texts(CHALLENGES.iter().map(|c| c.name())),
            holdout_share,
        }
    }
}

fn from_table(table: &ArrayRef, keys: impl Iterator<Item = Option<i32>>) -> Result<ArrayRef, ArrowError> {
    let keys: Int32Array = keys.collect();
    Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, Arc::clone(table))?))
}

fn words<'a>(values: impl Iterator<Item = Option<&'a str>>) -> ArrayRef {
    Arc::new(values.collect::<DictionaryArray<Int32Type>>())
}

fn time(values: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn int(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<Int64Array>())
}

// Texts written straight into the column; the writer returns whether there is one.
fn written(n: usize, width: usize, mut f: impl FnMut(usize, &mut StringBuilder) -> bool) -> ArrayRef {
    let mut b = StringBuilder::with_capacity(n, n * width);
    for i in 0..n {
        if f(i, &mut b) { b.append_value("") } else { b.append_null() }
    }
    Arc::new(b.finish())
}

fn put(b: &mut StringBuilder, text: std::fmt::Arguments<'_>) -> bool {
    b.write_fmt(text).is_ok()
}

// Sixteen hexadecimal digits; the general formatter takes several times as long.
fn put_hex(b: &mut StringBuilder, prefix: &str, n: u64) -> bool {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0u8; 16];
    for (i, t) in text.iter_mut().enumerate() {
        *t = DIGITS[(n >> (60 - 4 * i) & 0xF) as usize];
    }
    let digits = std::str::from_utf8(&text).unwrap_or_default();
    b.write_str(prefix).is_ok() && b.write_str(digits).is_ok()
}

fn ip(b: &mut StringBuilder, ip: u32) -> bool {
    let [a, c, d, e] = ip.to_be_bytes();
    put(b, format_args!("{a}.{c}.{d}.{e}"))
}

pub(crate) fn event_id(key: Key, n: u64) -> u64 {
    key.veil(n)
}

/// Id of a device as its client states it.
fn device_text(key: Key, device: u64, b: &mut StringBuilder) -> bool {
    let honest = device & !WRONG_SYSTEM;
    let kind = (honest & 0xFF) as u8 % KINDS.len() as u8;
    let system = KINDS[usize::from(kind)].system + if device == honest { 0 } else { 1_000 };
    b.write_str(&device::device_id(kind, system, key.veil(honest) >> 16)).is_ok()
}

fn ja3(key: Key, i: &Intent, b: &mut StringBuilder) -> bool {
    // Clients that shuffle their extensions show another mark with every connection.
    let seed = if i.party.flags & SHUFFLED != 0 { i.party.session } else { u64::from(i.party.software) };
    let (x, y) = (key.veil(seed ^ 1 << 60), key.veil(seed ^ 1 << 59));
    put_hex(b, "", x) && put_hex(b, "", y)
}

fn batch(columns: Columns) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<Field> =
        columns.iter().map(|(n, a)| Field::new(*n, a.data_type().clone(), *n != "time")).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|c| c.1).collect())
}

struct Coder<'a> {
    w: &'a World,
    words: &'a Words,
}

impl Coder<'_> {
    fn key(&self) -> Key {
        self.w.key
    }

    // Where a row came from: columns that several streams share.
    fn place<'a>(&self, n: usize, f: impl Fn(usize) -> &'a Intent) -> Result<Columns, ArrowError> {
        let country = |i: usize| Some(i32::from(network::asn(f(i).party.asn).country));
        Ok(vec![
            ("ip", written(n, 14, |i, b| ip(b, f(i).party.ip))),
            ("asn", int((0..n).map(|i| Some(network::asn(f(i).party.asn).number)))),
            ("country", from_table(&self.words.countries, (0..n).map(country))?),
        ])
    }

    fn client<'a>(&self, n: usize, f: impl Fn(usize) -> &'a Intent) -> Result<Columns, ArrowError> {
        let software = |i: usize| Some(i32::from(f(i).party.software));
        Ok(vec![
            ("ja3", written(n, 32, |i, b| ja3(self.key(), f(i), b))),
            ("ja4", from_table(&self.words.ja4, (0..n).map(software))?),
            ("user_agent", from_table(&self.words.agents, (0..n).map(software))?),
        ])
    }

    fn account<'a>(&self, n: usize, f: impl Fn(usize) -> &'a Intent, login: bool) -> ArrayRef {
        written(n, 18, |i, b| {
            let i = f(i);
            let known = i.party.account != NOBODY && i.party.account >> 40 == 0;
            known
                && (login || i.route != Route::Login)
                && put_hex(b, "a-", account_number(self.w, i.party.account))
        })
    }

    fn device<'a>(&self, n: usize, f: impl Fn(usize) -> &'a Intent) -> ArrayRef {
        written(n, 30, |i, b| {
            let d = f(i).party.device;
            d != NOBODY && device_text(self.key(), d, b)
        })
    }

    fn session<'a>(&self, n: usize, f: impl Fn(usize) -> &'a Intent) -> ArrayRef {
        written(n, 18, |i, b| put_hex(b, "s-", f(i).party.session))
    }

    fn ids<'a>(&self, n: usize, f: impl Fn(usize) -> &'a Intent) -> ArrayRef {
        written(n, 16, |i, b| put_hex(b, "", event_id(self.key(), f(i).key)))
    }

    fn decided(&self, n: usize, f: impl Fn(usize) -> Option<Decision>) -> Result<Columns, ArrowError> {
        let rule = |i: usize| f(i).map(|d| i32::from(d.rule));
        let action = |i: usize| f(i).map(|d| index(&ACTIONS, &d.action));
        Ok(vec![
            ("defence", from_table(&self.words.defences, (0..n).map(rule))?),
            ("rule", from_table(&self.words.rules, (0..n).map(rule))?),
            ("rule_version", from_table(&self.words.versions, (0..n).map(rule))?),
            ("action", from_table(&self.words.actions, (0..n).map(action))?),
            ("mode", from_table(&self.words.modes, (0..n).map(|i| f(i).map(|d| index(&MODES, &d.mode))))?),
        ])
    }
}

pub(crate) fn requests(w: &World, words_: &Words, rows: &[Request]) -> Result<RecordBatch, ArrowError> {
    let c = Coder { w, words: words_ };
    let n = rows.len();
    let at = |i: usize| &rows[i].intent;
    let mut path = String::new();
    let mut out: Columns = vec![
        ("time", time(rows.iter().map(|r| r.intent.time_us))),
        ("service", from_table(&words_.services, rows.iter().map(|r| Some(r.intent.route as i32)))?),
        ("method", from_table(&words_.methods, rows.iter().map(|r| Some(r.intent.route as i32)))?),
        (
            "path",
            written(n, 20, |i, b| {
                path.clear();
                at(i).route.path(at(i).title, at(i).aux, &mut path);
                b.write_str(&path).is_ok()
            }),
        ),
        ("status", Arc::new(rows.iter().map(|r| Some(i32::from(r.status))).collect::<Int32Array>())),
        ("latency_us", int(rows.iter().map(|r| Some(i64::from(r.latency_us))))),
        ("bytes", int(rows.iter().map(|r| Some(i64::from(r.bytes))))),
    ];
    out.extend(c.place(n, at)?);
    out.extend(c.client(n, at)?);
    out.push(("account", c.account(n, at, false)));
    out.push(("device", c.device(n, at)));
    out.push(("session", c.session(n, at)));
    out.extend(c.decided(n, |i| rows[i].decision)?);
    let challenge = |r: &Request| r.decision.and_then(|d| d.challenge).map(|c| index(&CHALLENGES, &c));
    out.push(("challenge_result", from_table(&words_.challenges, rows.iter().map(challenge))?));
    out.push(("event_id", c.ids(n, at)));
    batch(out)
}

fn credential(i: &Intent) -> &'static str {
    match i.party.flags & PARTNER {
        0 => "password",
        _ => "partner",
    }
}

// A wrong password is another one with every try.
fn typed(i: &Intent) -> u64 {
    let wrong = i.aux & 3 != 0;
    i.party.account ^ if wrong { i.key ^ (1 << 50) } else { 0 }
}

pub(crate) fn logins(w: &World, words_: &Words, rows: &[Login]) -> Result<RecordBatch, ArrowError> {
    let c = Coder { w, words: words_ };
    let n = rows.len();
    let at = |i: usize| &rows[i].request.intent;
    let leaked = |i: usize| at(i).aux & LOGIN_LEAKED != 0;
    let weak = |i: usize| at(i).party.account < w.accounts && w.account(at(i).party.account).weak;
    let mut out: Columns = vec![
        ("time", time((0..n).map(|i| at(i).time_us))),
        ("account", c.account(n, at, true)),
        (
            "identifier",
            written(n, 16, |i, b| {
                put(b, format_args!("m-{:016x}", w.key.veil(at(i).party.account ^ 1 << 58)))
            }),
        ),
        ("outcome", words(rows.iter().map(|r| Some(r.outcome.name())))),
        ("credential", words((0..n).map(|i| Some(credential(at(i)))))),
        (
            "password_bucket",
            written(n, 6, |i, b| {
                // Passwords that many use share a bucket.
                let bucket = at(i).aux / LOGIN_BUCKET;
                let seed = match (bucket, weak(i)) {
                    (0, true) => at(i).party.account % 40,
                    (0, false) => typed(at(i)),
                    (b, _) => u64::from(b) << 48,
                };
                put(b, format_args!("{:06x}", w.key.veil(seed ^ 1 << 57) >> 40))
            }),
        ),
        ("breached", Arc::new((0..n).map(|i| Some(leaked(i))).collect::<BooleanArray>())),
        ("weak", Arc::new((0..n).map(|i| Some(weak(i))).collect::<BooleanArray>())),
        ("mfa", words(rows.iter().map(|r| r.mfa.then_some("code")))),
    ];
    out.extend(c.place(n, at)?);
    out.extend(c.client(n, at)?);
    out.push(("device", c.device(n, at)));
    out.push(("session", c.session(n, at)));
    out.extend(c.decided(n, |i| rows[i].request.decision)?);
    out.push(("event_id", c.ids(n, at)));
    batch(out)
}

pub(crate) fn playbacks(w: &World, words_: &Words, rows: &[Playback]) -> Result<RecordBatch, ArrowError> {
    let c = Coder { w, words: words_ };
    let n = rows.len();
    let at = |i: usize| &rows[i].intent;
    let height = |i: usize| match KINDS[usize::from(at(i).party.kind) % KINDS.len()].level {
        "L3" => 480,
        "SL2000" => 720,
        _ if at(i).party.device % 3 == 0 => 2160,
        _ => 1080,
    };
    let mut out: Columns = vec![
        ("time", time((0..n).map(|i| at(i).time_us))),
        ("account", c.account(n, at, true)),
        ("device", c.device(n, at)),
        ("profile", written(n, 4, |i, b| put(b, format_args!("p{}", at(i).party.session % 4)))),
        ("title", written(n, 8, |i, b| put(b, format_args!("{}", 80_000_000 + u64::from(at(i).title))))),
        ("event", words(rows.iter().map(|r| Some(r.event)))),
        ("watched_s", int(rows.iter().map(|r| (r.event == "stop").then_some(i64::from(r.intent.aux))))),
        ("error_code", words(rows.iter().map(|r| r.error))),
        ("height_px", Arc::new((0..n).map(|i| Some(height(i))).collect::<Int32Array>())),
    ];
    out.extend(c.place(n, at)?);
    out.push(("session", c.session(n, at)));
    out.push(("event_id", c.ids(n, at)));
    batch(out)
}

pub(crate) fn licences(w: &World, words_: &Words, rows: &[Licence]) -> Result<RecordBatch, ArrowError> {
    let c = Coder { w, words: words_ };
    let n = rows.len();
    let at = |i: usize| &rows[i].request.intent;
    let kind = |i: usize| KINDS[(at(i).party.device & 0xFF) as usize % KINDS.len()];
    let claimed = |i: usize| KINDS[usize::from(at(i).party.kind) % KINDS.len()];
    let encodings =
        ["avc-high", "avc-main", "hevc-main10", "vp9", "av1", "hevc-dv", "avc-base", "xheaac", "ec3"];
    let encoding = |i: usize| {
        let n = at(i).aux / LICENCE_ENCODING;
        encodings[(n as usize + (at(i).party.device & 1) as usize) % encodings.len()]
    };
    let flag = |bit: u32| -> ArrayRef {
        Arc::new((0..n).map(|i| Some(at(i).aux & bit != 0)).collect::<BooleanArray>())
    };
    let mut out: Columns = vec![
        ("time", time((0..n).map(|i| at(i).time_us))),
        ("account", c.account(n, at, true)),
        ("device", c.device(n, at)),
        ("device_type", words((0..n).map(|i| Some(kind(i).name)))),
        (
            "model",
            written(n, 12, |i, b| {
                put(b, format_args!("{}-{:02}", kind(i).prefix, (w.key.veil(at(i).party.device) >> 16) % 23))
            }),
        ),
        ("drm", words((0..n).map(|i| Some(claimed(i).drm)))),
        ("security_level", words((0..n).map(|i| Some(claimed(i).level)))),
        ("cdm", written(n, 6, |i, b| put(b, format_args!("{}", claimed(i).system)))),
        ("encoding", words((0..n).map(|i| Some(encoding(i))))),
        ("title", written(n, 8, |i, b| put(b, format_args!("{}", 80_000_000 + u64::from(at(i).title))))),
        ("offline", flag(LICENCE_OFFLINE)),
        ("prefetch", flag(LICENCE_PREFETCH)),
        ("outcome", words(rows.iter().map(|r| Some(r.outcome)))),
        (
            "error_code",
            words(rows.iter().map(|r| match r.outcome {
                "denied" => Some("POLICY_DENIED"),
                "failed" => Some("SERVICE_ERROR"),
                _ => None,
            })),
        ),
    ];
    out.extend(c.place(n, at)?);
    out.extend(c.decided(n, |i| rows[i].request.decision)?);
    out.push(("event_id", c.ids(n, at)));
    batch(out)
}

/// Decisions on play requests, as a policy point would log them.
pub(crate) fn decisions(w: &World, words_: &Words, rows: &[Licence]) -> Result<RecordBatch, ArrowError> {
    let c = Coder { w, words: words_ };
    let n = rows.len();
    let at = |i: usize| &rows[i].request.intent;
    let decision = |i: usize| rows[i].request.decision;
    let rule = |i: usize| decision(i).map(|d| i32::from(d.rule));
    let outcome = |i: usize| match decision(i) {
        _ if rows[i].outcome == "failed" => "error",
        Some(_) if rows[i].request.stopped() => "deny",
        _ => "allow",
    };
    // Chance with which what was done was done: only rules that act hold some out.
    let propensity = |i: usize| match decision(i).map(|d| d.mode) {
        Some(Mode::Enforce) => 1.0 - words_.holdout_share,
        Some(Mode::Holdout) => words_.holdout_share,
        Some(Mode::Shadow) | None => 1.0,
    };
    let shadow = |i: usize| decision(i).filter(|d| d.mode != crate::config::Mode::Enforce).map(|_| "deny");
    batch(vec![
        ("time", time((0..n).map(|i| at(i).time_us))),
        (
            "decision_id",
            written(n, 18, |i, b| put(b, format_args!("d-{:016x}", event_id(w.key, at(i).key ^ 1)))),
        ),
        ("account", c.account(n, at, true)),
        ("device", c.device(n, at)),
        ("title", written(n, 8, |i, b| put(b, format_args!("{}", 80_000_000 + u64::from(at(i).title))))),
        ("outcome", words((0..n).map(|i| Some(outcome(i))))),
        ("bundle", words((0..n).map(|_| Some("standard-1")))),
        ("policies", from_table(&words_.rules, (0..n).map(rule))?),
        ("shadow_outcome", words((0..n).map(shadow))),
        ("mode", words((0..n).map(|i| Some(decision(i).map_or("enforce", |d| d.mode.name()))))),
        ("propensity", Arc::new((0..n).map(|i| Some(propensity(i))).collect::<Float64Array>())),
        ("event_id", c.ids(n, at)),
    ])
}

pub(crate) fn changes(w: &World, words_: &Words, rows: &[Change]) -> Result<RecordBatch, ArrowError> {
    let n = rows.len();
    let country = |i: usize| Some(i32::from(network::asn(rows[i].asn).country));
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("account", written(n, 18, |i, b| b.write_str(&account_name(w, rows[i].account)).is_ok())),
        ("change", words(rows.iter().map(|r| Some(r.change)))),
        ("actor", words(rows.iter().map(|r| Some(r.actor)))),
        ("device", written(n, 30, |i, b| rows[i].device.is_some_and(|d| device_text(w.key, d, b)))),
        (
            "session",
            written(n, 18, |i, b| rows[i].session.is_some_and(|s| put(b, format_args!("s-{s:016x}")))),
        ),
        ("ip", written(n, 14, |i, b| ip(b, rows[i].ip))),
        ("asn", int(rows.iter().map(|r| Some(network::asn(r.asn).number)))),
        ("country", from_table(&words_.countries, (0..n).map(country))?),
    ])
}

pub(crate) fn contacts(w: &World, rows: &[Contact]) -> Result<RecordBatch, ArrowError> {
    let n = rows.len();
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("account", written(n, 18, |i, b| b.write_str(&account_name(w, rows[i].account)).is_ok())),
        ("topic", words(rows.iter().map(|r| Some(r.topic)))),
        ("channel", words(rows.iter().map(|r| Some(r.channel)))),
        ("flag", words(rows.iter().map(|r| r.flag))),
        ("cost_usd", Arc::new(rows.iter().map(|r| Some(r.cost_usd)).collect::<Float64Array>())),
    ])
}

pub(crate) fn leaks(w: &World, rows: &[Leak]) -> Result<RecordBatch, ArrowError> {
    let n = rows.len();
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("vendor", words(rows.iter().map(|r| Some(r.vendor)))),
        (
            "identifier",
            written(n, 18, |i, b| put(b, format_args!("m-{:016x}", w.key.veil(rows[i].account ^ 1 << 58)))),
        ),
        ("password_match", Arc::new(rows.iter().map(|r| Some(r.password_match)).collect::<BooleanArray>())),
        ("seen_at", time(rows.iter().map(|r| r.seen_us))),
    ])
}

pub(crate) fn health(rows: &[Health]) -> Result<RecordBatch, ArrowError> {
    let whole = |f: &dyn Fn(&Health) -> i64| int(rows.iter().map(|r| Some(f(r))));
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("service", words(rows.iter().map(|r| Some(r.service)))),
        ("requests", whole(&|r| r.requests)),
        ("errors", whole(&|r| r.errors)),
        ("latency_p50_us", whole(&|r| r.p50_us)),
        ("latency_p99_us", whole(&|r| r.p99_us)),
        ("utilisation", Arc::new(rows.iter().map(|r| Some(r.utilisation)).collect::<Float64Array>())),
        ("shed", whole(&|r| r.shed)),
    ])
}

pub(crate) fn notes(rows: &[Note]) -> Result<RecordBatch, ArrowError> {
    let until = TimestampMicrosecondArray::from_iter(rows.iter().map(|r| r.until_us)).with_timezone("UTC");
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("until", Arc::new(until)),
        ("kind", words(rows.iter().map(|r| Some(r.kind)))),
        ("title", texts(rows.iter().map(|r| r.title.as_str()))),
        ("text", texts(rows.iter().map(|r| r.text.as_str()))),
        ("actor", words(rows.iter().map(|r| Some(r.actor)))),
        ("confidence", Arc::new(rows.iter().map(|r| Some(r.confidence)).collect::<Float64Array>())),
    ])
}

pub(crate) fn verdicts(w: &World, rows: &[Verdict]) -> Result<RecordBatch, ArrowError> {
    let n = rows.len();
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("subject_kind", words((0..n).map(|_| Some("account")))),
        ("subject", written(n, 18, |i, b| b.write_str(&account_name(w, rows[i].account)).is_ok())),
        ("verdict", words(rows.iter().map(|r| Some(r.verdict)))),
        ("reviewer", written(n, 10, |i, b| put(b, format_args!("analyst-{}", rows[i].reviewer)))),
        ("reason", words(rows.iter().map(|r| Some(r.reason)))),
    ])
}

/// Truth about events: id, campaign, stage, twin or attack.
pub(crate) fn event_truth(
    w: &World,
    names: &[String],
    rows: &[EventTruth],
) -> Result<RecordBatch, ArrowError> {
    let n = rows.len();
    let campaign = |r: &EventTruth| {
        usize::from(r.campaign).checked_sub(1).and_then(|c| names.get(c)).map(String::as_str)
    };
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("event_id", written(n, 16, |i, b| put(b, format_args!("{:016x}", event_id(w.key, rows[i].event))))),
        ("campaign", words(rows.iter().map(campaign))),
        ("stage", words(rows.iter().map(|r| Some(r.stage.name())))),
        ("intent", words(rows.iter().map(|r| Some(if r.campaign > 0 { "attack" } else { "benign_twin" })))),
    ])
}

/// Truth about decisions: what should have been done.
pub(crate) fn decision_truth(
    w: &World,
    words_: &Words,
    names: &[String],
    rows: &[DecisionTruth],
) -> Result<RecordBatch, ArrowError> {
    let n = rows.len();
    let rule = |r: &DecisionTruth| Some(i32::from(r.rule));
    let campaign = |r: &DecisionTruth| {
        usize::from(r.campaign).checked_sub(1).and_then(|c| names.get(c)).map(String::as_str)
    };
    let should = |r: &DecisionTruth| if r.campaign > 0 { "stop" } else { "allow" };
    let error = |r: &DecisionTruth| Some((r.campaign > 0) != r.stopped);
    batch(vec![
        ("time", time(rows.iter().map(|r| r.time_us))),
        ("event_id", written(n, 16, |i, b| put(b, format_args!("{:016x}", event_id(w.key, rows[i].event))))),
        ("defence", from_table(&words_.defences, rows.iter().map(rule))?),
        ("rule", from_table(&words_.rules, rows.iter().map(rule))?),
        ("rule_version", from_table(&words_.versions, rows.iter().map(rule))?),
        ("action", words(rows.iter().map(|r| Some(r.action.name())))),
        ("mode", words(rows.iter().map(|r| Some(r.mode.name())))),
        ("campaign", words(rows.iter().map(campaign))),
        ("should_be", words(rows.iter().map(|r| Some(should(r))))),
        ("is_error", Arc::new(rows.iter().map(error).collect::<BooleanArray>())),
        (
            "counterfactual_status",
            Arc::new(rows.iter().map(|r| Some(i32::from(r.other_status))).collect::<Int32Array>()),
        ),
        ("cost_usd", Arc::new(rows.iter().map(|r| Some(r.cost_usd)).collect::<Float64Array>())),
    ])
}

/// Type of a column without its dictionary, as readers see it.
pub(crate) fn plain(kind: &DataType) -> DataType {
    match kind {
        DataType::Dictionary(_, value) => value.as_ref().clone(),
        other => other.clone(),
    }
}
