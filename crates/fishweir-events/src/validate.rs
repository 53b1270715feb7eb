//! From mapped columns to canonical rows: types, ranges, pseudonyms and derived columns.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, Int64Builder, StringViewArray, StringViewBuilder,
    TimestampMicrosecondArray, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use crate::agent::AgentClasses;
use crate::network::{NetworkTable, ip_prefix};
use crate::pseudonym::{Pseudonyms, SubjectKind};
use crate::route::RouteRules;
use crate::stream::{Kind, Need, Stream, utc_microseconds};
use crate::time::parse_time;

/// Columns of a batch under their canonical names, in whatever type the source gave them.
#[derive(Clone, Debug, Default)]
pub struct Mapped {
    /// Rows in every column.
    pub rows: usize,
    /// Canonical name to values.
    pub columns: HashMap<String, ArrayRef>,
}

/// One refused row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reject {
    /// Row of the batch.
    pub row: usize,
    /// Column and what is wrong with it.
    pub reason: String,
}

/// Accepted rows in the stream's schema, and the refused ones.
#[derive(Debug)]
pub struct Canonical {
    /// Rows in the stored schema.
    pub batch: RecordBatch,
    /// For each stored row, its row in the input.
    pub kept: Vec<usize>,
    /// Refused rows in input order.
    pub rejects: Vec<Reject>,
    /// Whether the ids came from the source, so that equal ids mean the same event.
    pub own_ids: bool,
}

/// What was derived of values seen before, so that each address and path is worked out once.
///
/// # Limits
/// Each map forgets everything when it holds 200,000 values.
#[derive(Debug, Default)]
pub struct Memory {
    ids: [hashbrown::HashMap<Box<str>, Box<str>>; IDS.len()],
    groups: hashbrown::HashMap<Box<str>, Box<str>>,
    networks: hashbrown::HashMap<Box<str>, NetworkFacts>,
    routes: hashbrown::HashMap<Box<str>, Box<str>>,
    agents: hashbrown::HashMap<Box<str>, &'static str>,
}

type NetworkFacts = (Option<Box<str>>, Option<i64>, Option<Box<str>>);

const MEMORY_MAX: usize = 200_000;

/// Everything that decides what a mapped row becomes.
#[derive(Clone, Copy, Debug)]
pub struct CanonicalRules<'a> {
    /// Target stream.
    pub stream: Stream,
    /// Name of the source, stored with every row.
    pub source: &'a str,
    /// Service of rows that name none.
    pub service: &'a str,
    /// Earliest accepted time, microseconds.
    pub time_min_us: i64,
    /// Latest accepted time, microseconds.
    pub time_max_us: i64,
    /// Time of ingestion, microseconds.
    pub ingested_at_us: i64,
    /// Whether ids already are pseudonyms of our key; others are refused.
    pub ids_are_pseudonyms: bool,
    /// Pseudonym maker.
    pub pseudonyms: &'a Pseudonyms,
    /// Route templates.
    pub routes: &'a RouteRules,
    /// User-agent classes.
    pub agents: &'a AgentClasses,
    /// Network table.
    pub networks: &'a NetworkTable,
}

const WORDS: &[(Option<Stream>, &str, &[&str])] = &[
    (None, "action", &["allow", "log", "challenge", "step_up", "limit", "block"]),
    (None, "mode", &["enforce", "shadow", "holdout"]),
    (None, "challenge_result", &["passed", "failed", "abandoned"]),
    (
        Some(Stream::Notes),
        "kind",
        &["intel", "intervention", "deploy", "launch", "load_test", "holiday", "outage"],
    ),
    (
        Some(Stream::Logins),
        "outcome",
        &[
            "success",
            "wrong_credential",
            "unknown_account",
            "locked",
            "challenged",
            "challenge_passed",
            "challenge_failed",
            "denied",
        ],
    ),
    (Some(Stream::Logins), "credential", &["password", "token", "code", "partner"]),
    (Some(Stream::Playbacks), "event", &["start", "stop", "fail"]),
    (
        Some(Stream::AccountChanges),
        "change",
        &[
            "signup",
            "email",
            "password",
            "payment",
            "plan",
            "profile",
            "device_added",
            "device_removed",
            "logout_all",
            "mfa",
            "cancel",
            "reactivate",
        ],
    ),
    (Some(Stream::AccountChanges), "actor", &["member", "support", "system"]),
    (
        Some(Stream::Contacts),
        "topic",
        &["account_takeover", "cannot_sign_in", "cannot_play", "billing", "other"],
    ),
    (Some(Stream::Contacts), "flag", &["compromised", "not_compromised"]),
];

/// Whole numbers that count something.
const NOT_NEGATIVE: [&str; 8] =
    ["latency_us", "bytes", "requests", "errors", "latency_p50_us", "latency_p99_us", "shed", "watched_s"];

/// Columns that hold ids of people, devices or addresses, and what they are.
const IDS: [(&str, SubjectKind); 5] = [
    ("ip", SubjectKind::Ip),
    ("account", SubjectKind::Account),
    ("device", SubjectKind::Device),
    ("session", SubjectKind::Session),
    ("identifier", SubjectKind::Identifier),
];

struct Work<'a> {
    rules: &'a CanonicalRules<'a>,
    memory: &'a mut Memory,
    rows: usize,
    columns: HashMap<&'static str, ArrayRef>,
    refused: BTreeMap<usize, String>,
}

impl CanonicalRules<'_> {
    /// Returns the canonical rows of a batch.
    ///
    /// # Shape
    /// Accepted rows keep their order; every input row is in `kept` or in `rejects`, never both.
    ///
    /// # Errors
    /// Only an inner failure of the column library; bad values are rejects, not errors.
    pub fn apply(
        &self,
        mapped: &Mapped,
        memory: &mut Memory,
        fallback_id: &dyn Fn(usize, &mut String),
    ) -> Result<Canonical, ArrowError> {
        let mut work = Work {
            rules: self,
            memory,
            rows: mapped.rows,
            columns: HashMap::new(),
            refused: BTreeMap::new(),
        };
        for (name, kind, _) in self.stream.columns() {
            // A field that no row has counts as not given, so that it can be derived.
            if let Some(array) = mapped.columns.get(*name).filter(|a| a.null_count() < a.len()) {
                work.take(name, *kind, array)?;
            }
        }
        match self.stream {
            Stream::Requests => work.derive_requests(),
            Stream::Health => work.default_service(),
            _ => {}
        }
        work.derive_network();
        work.check_required();
        work.check_ranges();
        work.check_words();
        work.hide_ids();
        work.hide_password_group();
        work.hide_verdict_subject();
        work.finish(mapped, fallback_id)
    }
}

impl Work<'_> {
    fn refuse(&mut self, row: usize, reason: impl FnOnce() -> String) {
        self.refused.entry(row).or_insert_with(reason);
    }

    fn take(&mut self, name: &'static str, kind: Kind, array: &ArrayRef) -> Result<(), ArrowError> {
        let typed = if kind == Kind::Time { times(array)? } else { safe_cast(array, kind)? };
        if typed.null_count() > array.null_count() {
            let shown = safe_cast(array, Kind::Text)?;
            let shown = shown.as_string_view();
            for row in 0..self.rows {
                let given = if shown.is_null(row) { "" } else { shown.value(row) };
                if typed.is_null(row) && array.is_valid(row) && !matches!(given, "" | "-") {
                    let text: String = given.chars().take(40).collect();
                    self.refuse(row, || format!("{name}: `{text}` is not {}", kind.words()));
                }
            }
        }
        let typed = if kind == Kind::Text { blank_to_null(&typed) } else { typed };
        self.columns.insert(name, typed);
        Ok(())
    }

    fn text(&self, name: &str) -> Option<&StringViewArray> {
        self.columns.get(name).map(|a| a.as_string_view())
    }

    fn default_service(&mut self) {
        let service = self.rules.service;
        let filled: StringViewArray = match self.text("service") {
            None => std::iter::repeat_n(Some(service), self.rows).collect(),
            Some(s) if s.null_count() == 0 => return,
            Some(s) => s.iter().map(|v| v.or(Some(service))).collect(),
        };
        self.columns.insert("service", Arc::new(filled));
    }

    fn derive_requests(&mut self) {
        self.default_service();
        if let Some(method) = self
            .text("method")
            .filter(|m| m.iter().flatten().any(|m| m.bytes().any(|b| b.is_ascii_lowercase())))
        {
            let upper: StringViewArray = method.iter().map(|m| m.map(str::to_ascii_uppercase)).collect();
            self.columns.insert("method", Arc::new(upper));
        }
        if !self.columns.contains_key("route")
            && let Some(path) = self.text("path").cloned()
        {
            let rules = self.rules;
            let routes = memo(&path, &mut self.memory.routes, |p| rules.routes.route(p).into_boxed_str());
            self.columns.insert("route", Arc::new(routes));
        }
        if !self.columns.contains_key("agent_class")
            && let Some(agent) = self.text("user_agent").cloned()
        {
            let (rules, known) = (self.rules, &mut self.memory.agents);
            bound(known);
            let mut out = StringViewBuilder::with_capacity(agent.len());
            for a in &agent {
                let a = a.unwrap_or("");
                let class = match known.get(a) {
                    Some(class) => class,
                    None => *known.entry(a.into()).or_insert(rules.agents.class(a)),
                };
                out.append_value(class);
            }
            self.columns.insert("agent_class", Arc::new(out.finish()));
        }
    }

    fn derive_network(&mut self) {
        let Some(ips) = self.text("ip").cloned() else { return };
        let (rules, known) = (self.rules, &mut self.memory.networks);
        bound(known);
        let mut prefixes = StringViewBuilder::with_capacity(self.rows);
        let mut asns = Int64Builder::with_capacity(self.rows);
        let mut countries = StringViewBuilder::with_capacity(self.rows);
        for ip in &ips {
            let Some(ip) = ip else {
                prefixes.append_null();
                asns.append_null();
                countries.append_null();
                continue;
            };
            if !known.contains_key(ip) {
                known.insert(ip.into(), network_facts(ip, rules.networks));
            }
            let facts = known.get(ip);
            prefixes.append_option(facts.and_then(|f| f.0.as_deref()));
            asns.append_option(facts.and_then(|f| f.1));
            countries.append_option(facts.and_then(|f| f.2.as_deref()));
        }
        let derived: [(&'static str, ArrayRef); 3] = [
            ("ip_prefix", Arc::new(prefixes.finish())),
            ("asn", Arc::new(asns.finish())),
            ("country", Arc::new(countries.finish())),
        ];
        for (name, values) in derived {
            self.columns.entry(name).or_insert(values);
        }
    }

    fn check_required(&mut self) {
        let required = self.rules.stream.columns().iter().filter(|c| c.2 == Need::Required);
        for (name, _, _) in required {
            let missing: Vec<usize> = match self.columns.get(name) {
                None => (0..self.rows).collect(),
                Some(a) if a.null_count() == 0 => continue,
                Some(a) => (0..self.rows).filter(|row| a.is_null(*row)).collect(),
            };
            for row in missing {
                self.refuse(row, || format!("{name}: missing"));
            }
        }
    }

    fn check_ranges(&mut self) {
        let rules = self.rules;
        let mut bad: Vec<(usize, String)> = Vec::new();
        if let Some(t) = self.columns.get("time").map(|a| a.as_primitive::<TimestampMicrosecondType>()) {
            for (row, us) in t.iter().enumerate() {
                let Some(us) = us else { continue };
                if us < rules.time_min_us || us > rules.time_max_us {
                    let shown = chrono::DateTime::from_timestamp_micros(us)
                        .map_or_else(|| us.to_string(), |t| t.format("%FT%TZ").to_string());
                    let side =
                        if us < rules.time_min_us { "before the earliest" } else { "after the latest" };
                    bad.push((row, format!("time: {shown} lies {side} accepted time")));
                }
            }
        }
        if let Some(s) = self.columns.get("status").map(|a| a.as_primitive::<Int32Type>()) {
            for (row, v) in s.iter().enumerate() {
                if let Some(v) = v
                    && !(100..=599).contains(&v)
                {
                    bad.push((row, format!("status: {v} lies outside 100 to 599")));
                }
            }
        }
        for name in NOT_NEGATIVE {
            let Some(a) = self.columns.get(name) else { continue };
            for (row, v) in a.as_primitive::<Int64Type>().iter().enumerate() {
                if v.is_some_and(|v| v < 0) {
                    bad.push((row, format!("{name}: negative")));
                }
            }
        }
        for name in ["utilisation", "confidence", "cost_usd"] {
            let Some(a) = self.columns.get(name) else { continue };
            for (row, v) in a.as_primitive::<Float64Type>().iter().enumerate() {
                if v.is_some_and(|v| !v.is_finite() || v < 0.0) {
                    bad.push((row, format!("{name}: negative or not finite")));
                }
            }
        }
        for (row, reason) in bad {
            self.refuse(row, || reason);
        }
    }

    fn check_words(&mut self) {
        let mut bad: Vec<(usize, String)> = Vec::new();
        let stream = self.rules.stream;
        for (_, name, words) in WORDS.iter().filter(|w| w.0.is_none_or(|s| s == stream)) {
            let Some(a) = self.text(name) else { continue };
            for (row, v) in a.iter().enumerate() {
                if let Some(v) = v
                    && !words.contains(&v)
                {
                    let shown: String = v.chars().take(40).collect();
                    bad.push((row, format!("{name}: `{shown}` is none of {}", words.join(", "))));
                }
            }
        }
        for (row, reason) in bad {
            self.refuse(row, || reason);
        }
    }

    fn hide_ids(&mut self) {
        for (slot, (name, kind)) in IDS.into_iter().enumerate() {
            let Some(clear) = self.text(name).cloned() else { continue };
            if self.rules.ids_are_pseudonyms {
                let pseudonyms = self.rules.pseudonyms;
                self.refuse_strange(name, &clear, |v| pseudonyms.made(v));
            } else {
                let rules = self.rules;
                if let Some(known) = self.memory.ids.get_mut(slot) {
                    let hidden = memo(&clear, known, |v| {
                        let mut out = String::with_capacity(32);
                        rules.pseudonyms.write(kind, v, &mut out);
                        out.into_boxed_str()
                    });
                    self.columns.insert(name, Arc::new(hidden));
                }
            }
        }
    }

    fn hide_password_group(&mut self) {
        let Some(clear) = self.text("password_bucket").cloned() else { return };
        let pseudonyms = self.rules.pseudonyms;
        if self.rules.ids_are_pseudonyms {
            self.refuse_strange("password_bucket", &clear, |v| pseudonyms.made_group(v));
            return;
        }
        let hidden = memo(&clear, &mut self.memory.groups, |v| {
            let mut out = String::with_capacity(32);
            pseudonyms.write_group(v, &mut out);
            out.into_boxed_str()
        });
        self.columns.insert("password_bucket", Arc::new(hidden));
    }

    // The subject of a verdict is an account or device, hidden like any other, or the id of something
    // we made, such as an incident. What comes back from a review of ours is hidden already.
    fn hide_verdict_subject(&mut self) {
        if self.rules.stream != Stream::Verdicts {
            return;
        }
        let (Some(kinds), Some(subjects)) =
            (self.text("subject_kind").cloned(), self.text("subject").cloned())
        else {
            return;
        };
        let pseudonyms = self.rules.pseudonyms;
        let mut out = StringViewBuilder::with_capacity(self.rows);
        for (kind, subject) in kinds.iter().zip(&subjects) {
            let id = IDS.iter().find(|(name, _)| kind == Some(*name)).map(|(_, kind)| *kind);
            match (id, subject) {
                (Some(id), Some(v)) if !pseudonyms.made(v) => {
                    let mut text = String::with_capacity(32);
                    pseudonyms.write(id, v, &mut text);
                    out.append_value(text);
                }
                (_, v) => out.append_option(v),
            }
        }
        self.columns.insert("subject", Arc::new(out.finish()));
    }

    fn refuse_strange(&mut self, name: &str, values: &StringViewArray, ours: impl Fn(&str) -> bool) {
        for (row, v) in values.iter().enumerate() {
            if v.is_some_and(|v| !ours(v)) {
                self.refuse(row, || format!("{name}: not a pseudonym of the active key"));
            }
        }
    }

    fn finish(
        mut self,
        mapped: &Mapped,
        fallback_id: &dyn Fn(usize, &mut String),
    ) -> Result<Canonical, ArrowError> {
        let own = match mapped.columns.get("event_id").filter(|a| a.null_count() < a.len()) {
            Some(a) => Some(blank_to_null(&safe_cast(a, Kind::Text)?)),
            None => None,
        };
        let own_ids = own.is_some();
        if let Some(ids) = &own {
            for row in (0..self.rows).filter(|row| ids.is_null(*row)) {
                self.refuse(row, || "event_id: missing".to_owned());
            }
        }
        let ids: ArrayRef = match own {
            Some(ids) => ids,
            None => {
                let mut b = StringViewBuilder::with_capacity(self.rows);
                let mut id = String::with_capacity(32);
                for row in 0..self.rows {
                    id.clear();
                    fallback_id(row, &mut id);
                    b.append_value(&id);
                }
                Arc::new(b.finish())
            }
        };
        let schema = self.rules.stream.schema();
        let mut arrays = Vec::with_capacity(schema.fields().len());
        let keep: BooleanArray = (0..self.rows).map(|row| Some(!self.refused.contains_key(&row))).collect();
        for field in schema.fields() {
            arrays.push(match field.name().as_str() {
                "source" => Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(
                    self.rules.source,
                    self.rows,
                ))) as ArrayRef,
                "event_id" => Arc::clone(&ids),
                "ingested_at" => Arc::new(
                    TimestampMicrosecondArray::from(vec![self.rules.ingested_at_us; self.rows])
                        .with_timezone("UTC"),
                ),
                name => self
                    .columns
                    .get(name)
                    .cloned()
                    .unwrap_or_else(|| new_null_array(field.data_type(), self.rows)),
            });
        }
        // WHY: refused rows may hold nulls in required columns, so rows are filtered under a
        // relaxed schema before the strict one is put on.
        let relaxed = arrow::datatypes::Schema::new(
            schema.fields().iter().map(|f| f.as_ref().clone().with_nullable(true)).collect::<Vec<_>>(),
        );
        let all = RecordBatch::try_new(Arc::new(relaxed), arrays)?;
        let kept_batch = if self.refused.is_empty() { all } else { filter_record_batch(&all, &keep)? };
        let batch = RecordBatch::try_new(schema, kept_batch.columns().to_vec())?;
        let kept = (0..self.rows).filter(|row| !self.refused.contains_key(row)).collect();
        let rejects = self.refused.into_iter().map(|(row, reason)| Reject { row, reason }).collect();
        Ok(Canonical { batch, kept, rejects, own_ids })
    }
}

fn network_facts(ip: &str, table: &NetworkTable) -> NetworkFacts {
    match ip.parse::<IpAddr>() {
        Ok(ip) => {
            let (asn, country) = table.find(ip);
            (Some(ip_prefix(ip).into_boxed_str()), asn, country.map(Into::into))
        }
        Err(_) => (None, None, None),
    }
}

fn bound<V>(known: &mut hashbrown::HashMap<Box<str>, V>) {
    if known.len() > MEMORY_MAX {
        known.clear();
    }
}

// Applies a costly text function once per distinct value.
fn memo(
    values: &StringViewArray,
    known: &mut hashbrown::HashMap<Box<str>, Box<str>>,
    make: impl Fn(&str) -> Box<str>,
) -> StringViewArray {
    bound(known);
    let mut out = StringViewBuilder::with_capacity(values.len());
    for v in values {
        let Some(v) = v else {
            out.append_null();
            continue;
        };
        match known.get(v) {
            Some(made) => out.append_value(made),
            None => {
                let made = make(v);
                out.append_value(&made);
                known.insert(v.into(), made);
            }
        }
    }
    out.finish()
}

fn safe_cast(array: &ArrayRef, kind: Kind) -> Result<ArrayRef, ArrowError> {
    let to = kind.data_type();
    if *array.data_type() == to {
        return Ok(Arc::clone(array));
    }
    cast_with_options(array, &to, &CastOptions { safe: true, ..CastOptions::default() })
}

fn blank_to_null(array: &ArrayRef) -> ArrayRef {
    let text = array.as_string_view();
    if text.iter().all(|v| !matches!(v, Some("" | "-"))) {
        return Arc::clone(array);
    }
    let cleaned: StringViewArray = text.iter().map(|v| v.filter(|v| !matches!(*v, "" | "-"))).collect();
    Arc::new(cleaned)
}

// Times arrive as Arrow times, as text, or as numbers since the epoch whose unit follows from
// their size: below 10¹¹ seconds, below 10¹⁴ milliseconds, below 10¹⁷ microseconds, else nanoseconds.
fn times(array: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let number = |n: i64| match n.unsigned_abs() {
        0..=99_999_999_999 => n.checked_mul(1_000_000),
        100_000_000_000..=99_999_999_999_999 => n.checked_mul(1_000),
        100_000_000_000_000..=99_999_999_999_999_999 => Some(n),
        _ => Some(n / 1_000),
    };
    let values: TimestampMicrosecondArray = match array.data_type() {
        DataType::Timestamp(_, Some(_)) => {
            let options = CastOptions { safe: true, ..CastOptions::default() };
            return cast_with_options(array, &utc_microseconds(), &options);
        }
        DataType::Timestamp(_, None) | DataType::Date32 | DataType::Date64 => {
            let naive = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, None);
            let options = CastOptions { safe: true, ..CastOptions::default() };
            let cast = cast_with_options(array, &naive, &options)?;
            cast.as_primitive::<TimestampMicrosecondType>().clone()
        }
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Dictionary(_, _) => {
            let text = safe_cast(array, Kind::Text)?;
            text.as_string_view().iter().map(|v| v.and_then(|v| text_time(v, number))).collect()
        }
        DataType::Float64 | DataType::Float32 => {
            let f = safe_cast(array, Kind::Float)?;
            #[expect(clippy::cast_possible_truncation, reason = "saturates, then is range-checked")]
            let us = |v: f64| if v.abs() < 1e11 { Some((v * 1e6) as i64) } else { number(v as i64) };
            f.as_primitive::<Float64Type>().iter().map(|v| v.and_then(us)).collect()
        }
        _ => {
            let n = safe_cast(array, Kind::Int)?;
            let n: &Int64Array = n.as_primitive();
            n.iter().map(|v| v.and_then(number)).collect()
        }
    };
    Ok(Arc::new(values.with_timezone("UTC")))
}

fn text_time(text: &str, number: impl Fn(i64) -> Option<i64>) -> Option<i64> {
    if let Some(us) = fast_rfc3339(text.as_bytes()) {
        return Some(us);
    }
    if let Ok(n) = text.parse::<i64>() {
        return number(n);
    }
    if let Ok(f) = text.parse::<f64>() {
        #[expect(clippy::cast_possible_truncation, reason = "saturates, then is range-checked")]
        return (f.is_finite() && f.abs() < 1e11).then_some((f * 1e6) as i64);
    }
    parse_time(text).ok()
}

// `2026-10-05T14:30:00[.ffffff]Z`, the form nearly every line has; the rest takes the slow path.
fn fast_rfc3339(b: &[u8]) -> Option<i64> {
    let (date, rest) = b.split_at_checked(19)?;
    let num = |r: std::ops::Range<usize>| -> Option<i64> {
        date.get(r)?.iter().try_fold(0i64, |n, d| d.is_ascii_digit().then(|| n * 10 + i64::from(d - b'0')))
    };
    let sep = |i: usize, c: u8| date.get(i) == Some(&c);
    if !(sep(4, b'-') && sep(7, b'-') && sep(13, b':') && sep(16, b':') && (sep(10, b'T') || sep(10, b' '))) {
        return None;
    }
    let mut us = 0i64;
    let zone = match rest {
        [b'.', frac @ ..] => {
            let digits = frac.iter().take_while(|c| c.is_ascii_digit()).count();
            let mut scale = 100_000;
            for d in frac.iter().take(digits.min(6)) {
                us += i64::from(d - b'0') * scale;
                scale /= 10;
            }
            frac.get(digits..)?
        }
        other => other,
    };
    if zone != b"Z" {
        return None;
    }
    let (y, m, d) = (num(0..4)?, num(5..7)?, num(8..10)?);
    let (hour, minute, second) = (num(11..13)?, num(14..16)?, num(17..19)?);
    let day = chrono::NaiveDate::from_ymd_opt(y.try_into().ok()?, m.try_into().ok()?, d.try_into().ok()?)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = i64::from(day.to_epoch_days());
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + us)
}

#[cfg(test)]
mod tests;
