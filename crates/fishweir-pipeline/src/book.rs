//! Which intervals of which model version are done, and since when.
//!
//! Every write is announced (`started`) before it happens and confirmed (`done`) after. A model
//! is stale wherever something it reads was started or done later than the model itself was
//! done; a crash between the two steps therefore makes the interval due again, never lost.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use fishweir_events::{Grain, Interval, utc_microseconds};
use fishweir_lake::{Lake, LakeError, Table, TableSpec};
use futures::StreamExt as _;

/// The record of intervals, table `model_intervals`.
#[derive(Debug)]
pub struct Book {
    table: Table,
    changed: HashMap<String, Spans>,
    done: HashMap<String, Spans>,
    next: i64,
    rows: usize,
}

/// Disjoint ordered intervals, each with the sequence number of its last mark.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Spans(Vec<(Interval, i64)>);

const FOLD_ROWS: usize = 4_000;

fn spec() -> TableSpec {
    TableSpec {
        name: "model_intervals".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new("time", utc_microseconds(), false),
            Field::new("model", DataType::Utf8, false),
            Field::new("version", DataType::Int64, false),
            Field::new("range_from", utc_microseconds(), false),
            Field::new("range_to", utc_microseconds(), false),
            Field::new("seq", DataType::Int64, false),
            Field::new("done", DataType::Boolean, false),
        ])),
        time_column: Some("time".to_owned()),
    }
}

impl Spans {
    fn set(&mut self, range: Interval, seq: i64) {
        let mut out = Vec::with_capacity(self.0.len() + 2);
        for (i, s) in self.0.drain(..) {
            let before = Interval::new(i.from_us, i.to_us.min(range.from_us));
            let after = Interval::new(i.from_us.max(range.to_us), i.to_us);
            if !i.overlaps(range) {
                out.push((i, s));
                continue;
            }
            if !before.is_empty() {
                out.push((before, s));
            }
            if !after.is_empty() {
                out.push((after, s));
            }
        }
        out.push((range, seq));
        out.sort_unstable();
        let mut joined: Vec<(Interval, i64)> = Vec::with_capacity(out.len());
        for (i, s) in out {
            match joined.last_mut() {
                Some((last, t)) if last.to_us == i.from_us && *t == s => last.to_us = i.to_us,
                _ => joined.push((i, s)),
            }
        }
        self.0 = joined;
    }

    /// Returns the parts of these spans where `other` is absent or older.
    fn newer_than(&self, other: &Self) -> Vec<Interval> {
        let mut out = Vec::new();
        for (range, seq) in &self.0 {
            let mut at = range.from_us;
            for (o, s) in other.0.iter().filter(|(o, _)| o.overlaps(*range)) {
                if o.from_us > at {
                    out.push(Interval::new(at, o.from_us));
                }
                if s < seq {
                    out.push(o.intersect(*range));
                }
                at = at.max(o.to_us);
            }
            if at < range.to_us {
                out.push(Interval::new(at, range.to_us));
            }
        }
        Interval::coalesce(out)
    }
}

impl Book {
    /// Returns the record as stored.
    ///
    /// # Errors
    /// A table that cannot be read or made.
    pub async fn load(lake: &Lake) -> Result<Self, LakeError> {
        let table = lake.table(&spec()).await?;
        let mut marks = Vec::new();
        for file in table.files()? {
            for batch in table.read_file(&file).await? {
                read_marks(&batch, &mut marks);
            }
        }
        // WHY: confirmations sort behind announcements of the same number.
        marks.sort_by_key(|m| (m.seq, m.done));
        let rows = marks.len();
        let mut book = Self { table, changed: HashMap::new(), done: HashMap::new(), next: 1, rows };
        marks.iter().for_each(|m| book.apply(m));
        Ok(book)
    }

    fn apply(&mut self, m: &Mark) {
        self.next = self.next.max(m.seq + 1);
        self.changed.entry(m.model.clone()).or_default().set(m.range, m.seq);
        if m.done {
            self.done.entry(key(&m.model, m.version)).or_default().set(m.range, m.seq);
        }
    }

    /// Returns the intervals of a model that are due because `inputs` changed, aligned to its
    /// interval and clipped to whole intervals before `until_us`.
    #[must_use]
    pub fn stale(
        &self,
        model: &str,
        version: i64,
        inputs: &[String],
        interval: Grain,
        until_us: i64,
    ) -> Vec<Interval> {
        let none = Spans::default();
        let done = self.done.get(&key(model, version)).unwrap_or(&none);
        let mut due = Vec::new();
        for input in inputs {
            if let Some(changed) = self.changed.get(input) {
                due.extend(changed.newer_than(done));
            }
        }
        if let Some(own) = self.changed.get(model) {
            // Announced but never confirmed: the crash case.
            due.extend(own.newer_than(done).into_iter().filter(|_| !done.0.is_empty()));
        }
        let aligned = due.into_iter().map(|i| i.align(interval));
        let end = interval.next(interval.floor(until_us - 1));
        let clipped = aligned.map(|i| Interval::new(i.from_us, i.to_us.min(end)));
        Interval::coalesce(clipped.collect())
    }

    /// Returns whether a model version has every instant of the interval done.
    #[must_use]
    pub fn is_done(&self, model: &str, version: i64, range: Interval) -> bool {
        let mut one = Spans::default();
        one.set(range, i64::MIN);
        let none = Spans::default();
        let done = self.done.get(&key(model, version)).unwrap_or(&none);
        one.newer_than(done).is_empty()
    }

    /// Returns the end of what a model version has done; `None` where nothing is.
    #[must_use]
    pub fn done_until(&self, model: &str, version: i64) -> Option<i64> {
        self.done.get(&key(model, version))?.0.iter().map(|(range, _)| range.to_us).max()
    }

    /// Returns whether rows of any of the tables inside the interval were deleted or thinned.
    #[must_use]
    pub fn touched(&self, what: &str, tables: &[String], range: Interval) -> bool {
        tables.iter().any(|t| {
            let spans = self.changed.get(&format!("{what}:{t}"));
            spans.is_some_and(|s| s.0.iter().any(|(i, _)| i.overlaps(range)))
        })
    }

    /// Returns whether rows of any of the tables inside the interval were marked `what` and not
    /// written again since.
    #[must_use]
    pub fn touched_last(&self, what: &str, tables: &[String], range: Interval) -> bool {
        let none = Spans::default();
        tables.iter().any(|t| {
            let Some(marks) = self.changed.get(&format!("{what}:{t}")) else { return false };
            let written = self.changed.get(t).unwrap_or(&none);
            marks.newer_than(written).iter().any(|i| i.overlaps(range))
        })
    }

    /// Returns a number larger than any used so far; generations of late rows are such numbers.
    #[must_use]
    pub fn next_number(&self) -> i64 {
        self.next
    }

    /// Announces that rows of the intervals are about to change; returns the mark's number.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub async fn announce(
        &mut self,
        model: &str,
        version: i64,
        ranges: &[Interval],
        now_us: i64,
    ) -> Result<i64, LakeError> {
        let seq = self.next;
        self.write(model, version, ranges, seq, false, now_us).await?;
        Ok(seq)
    }

    /// Confirms that the rows of the intervals are written.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub async fn confirm(
        &mut self,
        model: &str,
        version: i64,
        ranges: &[Interval],
        seq: i64,
        now_us: i64,
    ) -> Result<(), LakeError> {
        self.write(model, version, ranges, seq, true, now_us).await
    }

    async fn write(
        &mut self,
        model: &str,
        version: i64,
        ranges: &[Interval],
        seq: i64,
        done: bool,
        now_us: i64,
    ) -> Result<(), LakeError> {
        if ranges.is_empty() {
            return Ok(());
        }
        let marks: Vec<Mark> = ranges
            .iter()
            .map(|range| Mark { model: model.to_owned(), version, range: *range, seq, done })
            .collect();
        let batch = batch(&marks, now_us, &self.table)?;
        self.table.append(&[batch], &[]).await?;
        self.rows += marks.len();
        marks.iter().for_each(|m| self.apply(m));
        Ok(())
    }

    /// Rewrites the record as the few rows that still matter, when it has grown long.
    ///
    /// # Errors
    /// A table that cannot be written.
    pub async fn fold(&mut self, now_us: i64) -> Result<(), LakeError> {
        if self.rows < FOLD_ROWS {
            return Ok(());
        }
        let mut marks = Vec::new();
        for (model, spans) in &self.changed {
            marks.extend(spans.0.iter().map(|(range, seq)| Mark {
                model: model.clone(),
                version: 0,
                range: *range,
                seq: *seq,
                done: false,
            }));
        }
        for (name, spans) in &self.done {
            let (model, version) = name.rsplit_once('@').unwrap_or((name, "0"));
            let version = version.parse().unwrap_or(0);
            marks.extend(spans.0.iter().map(|(range, seq)| Mark {
                model: model.to_owned(),
                version,
                range: *range,
                seq: *seq,
                done: true,
            }));
        }
        self.rows = marks.len();
        let rows = batch(&marks, now_us, &self.table)?;
        let all = [Interval::new(i64::MIN, i64::MAX)];
        self.table.replace(&all, futures::stream::iter([Ok(rows)]).boxed()).await?;
        Ok(())
    }
}

fn key(model: &str, version: i64) -> String {
    format!("{model}@{version}")
}

struct Mark {
    model: String,
    version: i64,
    range: Interval,
    seq: i64,
    done: bool,
}

fn batch(marks: &[Mark], now_us: i64, table: &Table) -> Result<RecordBatch, LakeError> {
    let time = |f: &dyn Fn(&Mark) -> i64| {
        let all: Vec<i64> = marks.iter().map(f).collect();
        Arc::new(TimestampMicrosecondArray::from(all).with_timezone("UTC"))
    };
    let int = |f: &dyn Fn(&Mark) -> i64| Arc::new(marks.iter().map(f).collect::<Int64Array>());
    let columns: Vec<arrow::array::ArrayRef> = vec![
        time(&|_| now_us),
        Arc::new(marks.iter().map(|m| Some(m.model.as_str())).collect::<StringArray>()),
        int(&|m| m.version),
        time(&|m| m.range.from_us),
        time(&|m| m.range.to_us),
        int(&|m| m.seq),
        Arc::new(marks.iter().map(|m| Some(m.done)).collect::<BooleanArray>()),
    ];
    RecordBatch::try_new(spec().schema, columns)
        .map_err(|e| LakeError::Rows { table: table.name().to_owned(), cause: e.to_string() })
}

fn read_marks(batch: &RecordBatch, out: &mut Vec<Mark>) {
    let column = |name: &str| batch.column_by_name(name);
    let time = |name: &str| column(name).map(|c| c.as_primitive::<TimestampMicrosecondType>());
    let int = |name: &str| column(name).map(|c| c.as_primitive::<Int64Type>());
    let (Some(model), Some(version), Some(from), Some(to), Some(seq), Some(done)) = (
        column("model").map(|c| c.as_string::<i32>()),
        int("version"),
        time("range_from"),
        time("range_to"),
        int("seq"),
        column("done").map(|c| c.as_boolean()),
    ) else {
        return;
    };
    out.extend((0..batch.num_rows()).filter(|r| model.is_valid(*r)).map(|r| Mark {
        model: model.value(r).to_owned(),
        version: version.value(r),
        range: Interval::new(from.value(r), to.value(r)),
        seq: seq.value(r),
        done: done.value(r),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_overwrite_and_compare() {
        let i = Interval::new;
        let mut a = Spans::default();
        a.set(i(0, 100), 1);
        a.set(i(40, 60), 2);
        assert_eq!(a.0, [(i(0, 40), 1), (i(40, 60), 2), (i(60, 100), 1)]);
        let mut b = Spans::default();
        b.set(i(0, 50), 1);
        assert_eq!(a.newer_than(&b), [i(40, 100)]);
        b.set(i(0, 100), 3);
        assert!(a.newer_than(&b).is_empty());
    }
    mod laws {
        use proptest::prelude::*;

        use super::*;

        proptest! {
            // Whatever the order of marks, the spans say for every instant what the last mark over
            // it said.
            #[test]
            fn the_last_mark_over_an_instant_counts(marks in prop::collection::vec((0i64..60, 1i64..20), 1..20)) {
                let mut spans = Spans::default();
                for (seq, (from, length)) in (1..).zip(&marks) {
                    spans.set(Interval::new(*from, from + length), seq);
                }
                for at in 0..80 {
                    let told = spans.0.iter().find(|(i, _)| i.contains(at)).map(|(_, s)| *s);
                    let last = (1..).zip(&marks).filter(|(_, (f, n))| Interval::new(*f, f + n).contains(at));
                    prop_assert_eq!(told, last.map(|(s, _)| s).last());
                }
                prop_assert!(spans.0.windows(2).all(|w| w[0].0.to_us <= w[1].0.from_us));
            }
        }
    }
}
