//! Certifying what was rolled up, and writing down what does not fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use fishweir_events::{Interval, Stream};

use super::{FindingRow, RunOptions, Runner, State, finding_table, shown};
use crate::catalog::{bound, times};
use crate::certificate::{self, Certificate, SEAL};
use crate::error::PipelineError;
use crate::model::Model;

impl Runner {
    // When every model that reads a stream directly is done for an hour and adds up, the hour is
    // certified.
    pub(super) async fn certify(
        &self,
        level: &[Model],
        state: &mut State,
        options: &RunOptions,
    ) -> Result<(), PipelineError> {
        for stream in Stream::ALL {
            let name = stream.name();
            let counting: Vec<&Model> =
                level.iter().filter(|m| m.counts.is_some() && m.inputs.iter().any(|i| i == name)).collect();
            if counting.is_empty() {
                continue;
            }
            let changed = self.changed_hours(state, stream, options);
            let (Some(first), Some(last)) = (changed.keys().next(), changed.keys().last()) else { continue };
            let span = Interval::new(*first, SEAL.next(*last));
            let mut totals: BTreeMap<i64, i64> = BTreeMap::new();
            for model in &counting {
                let sums = self.rolled(model, span).await?;
                for (hour, live) in &changed {
                    let range = Interval::new(*hour, SEAL.next(*hour));
                    let known = state.certificates.get(&(name.to_owned(), *hour));
                    // Rows of earlier generations were certified before their raw rows went, and
                    // may have moved on to coarser tables since.
                    let generation = known.map_or(0, |c| c.generation);
                    let have = sums.get(&(*hour, generation)).copied().unwrap_or(0);
                    if have != *live {
                        return Err(PipelineError::Mismatch {
                            stream: name.to_owned(),
                            interval: shown(range),
                            model: model.name.clone(),
                            raw_rows: *live,
                            rolled_rows: have,
                        });
                    }
                    totals.insert(*hour, have + known.map_or(0, |c| c.deleted_rows));
                }
            }
            let rejected = self.rejected(name, span).await?;
            let mut fresh = Vec::with_capacity(changed.len());
            for (hour, live) in changed {
                let known = state.certificates.get(&(name.to_owned(), hour));
                let late = known.map_or(0, |c| live - c.raw_rows);
                state.summary.late_rows += late;
                fresh.push(Certificate {
                    stream: name.to_owned(),
                    range: Interval::new(hour, SEAL.next(hour)),
                    generation: known.map_or(0, |c| c.generation),
                    raw_rows: live,
                    deleted_rows: known.map_or(0, |c| c.deleted_rows),
                    rollup_rows: totals.get(&hour).copied().unwrap_or(0),
                    late_rows: known.map_or(0, |c| c.late_rows) + late,
                    rejected_rows: rejected.get(&hour).copied().unwrap_or(0),
                    state: "sealed".to_owned(),
                    sealed_at_us: options.now_us,
                });
            }
            state.summary.hours_sealed += fresh.len();
            certificate::store(&mut state.certificate_table, &mut state.certificates, fresh).await?;
        }
        Ok(())
    }

    // Streams whose rows are read as they are have no rollup to add up; what was read is written down, so that only
    // hours that change are read again. Their raw rows stay.
    pub(super) async fn note_read(
        &self,
        state: &mut State,
        options: &RunOptions,
    ) -> Result<(), PipelineError> {
        for stream in Stream::ALL {
            let name = stream.name();
            let mut readers = self.models.iter().filter(|m| m.inputs.iter().any(|i| i == name)).peekable();
            if readers.peek().is_none() || readers.any(|m| m.counts.is_some()) {
                continue;
            }
            let fresh =
                self.changed_hours(state, stream, options).into_iter().map(|(hour, live)| Certificate {
                    stream: name.to_owned(),
                    range: Interval::new(hour, SEAL.next(hour)),
                    generation: 0,
                    raw_rows: live,
                    deleted_rows: 0,
                    rollup_rows: live,
                    late_rows: 0,
                    rejected_rows: 0,
                    state: "sealed".to_owned(),
                    sealed_at_us: options.now_us,
                });
            let fresh: Vec<Certificate> = fresh.collect();
            certificate::store(&mut state.certificate_table, &mut state.certificates, fresh).await?;
        }
        Ok(())
    }

    fn changed_hours(&self, state: &State, stream: Stream, options: &RunOptions) -> BTreeMap<i64, i64> {
        let hours = state.counts.get(&stream).map(|c| &c.hours).into_iter().flatten();
        hours
            .filter(|(hour, rows)| {
                let known = state.certificates.get(&(stream.name().to_owned(), **hour));
                SEAL.next(**hour) <= options.until_us && known.is_none_or(|c| c.raw_rows < **rows)
            })
            .map(|(h, n)| (*h, *n))
            .collect()
    }

    // Rows accounted for by a model, per hour and generation.
    async fn rolled(
        &self,
        model: &Model,
        span: Interval,
    ) -> Result<BTreeMap<(i64, i64), i64>, PipelineError> {
        let counts = model.counts.as_deref().unwrap_or("0");
        let sql = format!(
            "SELECT date_bin(INTERVAL '1 hour', {t}) AS hour, CAST(sum({counts}) AS BIGINT) AS n, late FROM {m} WHERE {t} >= $from AND {t} < $to GROUP BY 1, 3",
            t = model.time,
            m = model.name
        );
        let context = self.catalog.session_of(&[&model.name]).await?;
        let frame = bound(&context, &sql, &sql, span).await?;
        let mut out = BTreeMap::new();
        for batch in frame.collect().await.map_err(PipelineError::query(&sql))? {
            let hour = times(&batch, 0)?;
            let (n, late) =
                (batch.column(1).as_primitive::<Int64Type>(), batch.column(2).as_primitive::<Int64Type>());
            out.extend((0..batch.num_rows()).map(|r| ((hour.value(r), late.value(r)), n.value(r))));
        }
        Ok(out)
    }

    async fn rejected(&self, stream: &str, span: Interval) -> Result<BTreeMap<i64, i64>, PipelineError> {
        if self.catalog.lake().existing("rejects").await?.is_none() {
            return Ok(BTreeMap::new());
        }
        let sql = format!(
            "SELECT date_bin(INTERVAL '1 hour', time) AS hour, count(*) AS n FROM rejects WHERE stream = '{stream}' AND time >= $from AND time < $to GROUP BY 1"
        );
        self.per_hour(&["rejects"], &sql, span).await
    }

    async fn per_hour(
        &self,
        tables: &[&str],
        sql: &str,
        span: Interval,
    ) -> Result<BTreeMap<i64, i64>, PipelineError> {
        let context = self.catalog.session_of(tables).await?;
        let frame = bound(&context, sql, sql, span).await?;
        let mut out = BTreeMap::new();
        for batch in frame.collect().await.map_err(PipelineError::query(sql))? {
            let hour = times(&batch, 0)?;
            let n = batch.column(1).as_primitive::<Int64Type>();
            out.extend(
                (0..batch.num_rows()).filter(|r| hour.is_valid(*r)).map(|r| (hour.value(r), n.value(r))),
            );
        }
        Ok(out)
    }

    /// Adds findings that are not there yet, by kind and subject, and returns how many were new.
    ///
    /// # Errors
    /// A table that cannot be read or written.
    pub async fn record(&self, findings: &[FindingRow], now_us: i64) -> Result<usize, PipelineError> {
        let spec = finding_table();
        let mut table = self.catalog.table(&spec).await?;
        let mut known = BTreeSet::new();
        for file in table.files()? {
            for batch in table.read_file(&file).await? {
                let (kind, subject) =
                    (batch.column(1).as_string::<i32>(), batch.column(2).as_string::<i32>());
                known.extend(
                    (0..batch.num_rows()).map(|r| (kind.value(r).to_owned(), subject.value(r).to_owned())),
                );
            }
        }
        let new: Vec<&FindingRow> =
            findings.iter().filter(|f| known.insert((f.kind.clone(), f.subject.clone()))).collect();
        if new.is_empty() {
            return Ok(0);
        }
        let text = |f: &dyn Fn(&FindingRow) -> String| -> ArrayRef {
            Arc::new(new.iter().map(|r| Some(f(r))).collect::<StringArray>())
        };
        let first: TimestampMicrosecondArray = new.iter().map(|f| f.first_seen_us).collect();
        let columns = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![now_us; new.len()]).with_timezone("UTC"))
                as ArrayRef,
            text(&|f| f.kind.clone()),
            text(&|f| f.subject.clone()),
            text(&|f| f.detail.clone()),
            Arc::new(first.with_timezone("UTC")),
            text(&|f| f.metrics.join(" ")),
        ];
        let batch = RecordBatch::try_new(spec.schema, columns)
            .map_err(|e| PipelineError::Query { what: "findings".to_owned(), cause: e.to_string() })?;
        table.append(&[batch], &[]).await?;
        Ok(new.len())
    }
}
