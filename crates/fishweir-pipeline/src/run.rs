//! Brings every table up to date and certifies raw streams.

mod seal;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::Int64Array;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::record_batch::RecordBatch;
use datafusion::physical_plan::common::spawn_buffered;
use datafusion::prelude::SessionContext;
use fishweir_events::{Grain, Interval, Stream, utc_microseconds};
use fishweir_lake::{BatchStream, Table, TableSpec};
use futures::{StreamExt as _, TryStreamExt as _};
use serde::Serialize;

use crate::book::Book;
use crate::catalog::{Catalog, bound};
use crate::certificate::{self, Certificate, Certificates, RawCounts, SEAL, certificate_table};
use crate::error::PipelineError;
use crate::graph::{is_stream, levels};
use crate::model::{Model, NativeModel, Recipe};

/// What to bring up to date.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Intervals that end later are left alone.
    pub until_us: i64,
    /// Present time, for stamps.
    pub now_us: i64,
    /// Models computed side by side.
    pub parallel: usize,
    /// Input rows per step.
    pub batch_rows: i64,
    /// Only these models and what they read; empty means all.
    pub only: Vec<String>,
    /// Compute the models of `only` again for this span, due or not.
    pub again: Option<Interval>,
}

/// What a run did with one model.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
pub struct RunEvent {
    /// Model.
    pub model: String,
    /// Steps computed.
    pub steps: usize,
    /// Rows written.
    pub rows: i64,
    /// Intervals that were due but whose input is gone; their rows stay as they were.
    pub expired: usize,
}

/// What a run did.
#[derive(Clone, Debug, Default, Serialize)]
pub struct RunSummary {
    /// Per model, in order.
    pub models: Vec<RunEvent>,
    /// Hours newly sealed or sealed again.
    pub hours_sealed: usize,
    /// Rows that arrived after their hour had been sealed.
    pub late_rows: i64,
    /// New findings.
    pub findings: usize,
}

/// Hears how far the run is.
pub trait RunProgress: Send + Sync {
    /// A model has this many steps to do.
    fn plan(&self, model: &str, steps: usize);
    /// A step is done.
    fn step(&self, model: &str);
}

/// A row of table `findings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FindingRow {
    /// Kind, for instance `mismatch`, `vanished`, `new_rule`, `break`.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Sentence for the reader.
    pub detail: String,
    /// When it began, where that is known.
    pub first_seen_us: Option<i64>,
    /// Metrics it touches.
    pub metrics: Vec<String>,
}

/// Returns the table `findings`.
#[must_use]
pub fn finding_table() -> TableSpec {
    TableSpec {
        name: "findings".to_owned(),
        schema: Arc::new(Schema::new(vec![
            Field::new("time", utc_microseconds(), false),
            Field::new("kind", DataType::Utf8, false),
            Field::new("subject", DataType::Utf8, false),
            Field::new("detail", DataType::Utf8, false),
            Field::new("first_seen", utc_microseconds(), true),
            Field::new("metrics", DataType::Utf8, true),
        ])),
        time_column: Some("time".to_owned()),
    }
}

/// Runs the model graph.
pub struct Runner {
    catalog: Catalog,
    models: Vec<Model>,
    natives: BTreeMap<String, Arc<dyn NativeModel>>,
    beside: BTreeSet<String>,
    streams: Vec<TableSpec>,
}

struct State {
    book: Book,
    certificates: Certificates,
    certificate_table: Table,
    counts: BTreeMap<Stream, RawCounts>,
    raw: BTreeMap<String, Table>,
    findings: Vec<FindingRow>,
    summary: RunSummary,
}

/// One replace of one table.
#[derive(Clone, Debug)]
struct Step {
    range: Interval,
    generations: Vec<i64>,
    keep_others: bool,
}

/// Batches that a query may be ahead of their writing.
const BATCHES_AHEAD: usize = 4;

/// What is due of one model, and what came of it.
struct Job<'a> {
    model: &'a Model,
    due: Vec<Interval>,
    steps: Vec<Step>,
    /// Announcement in the book, to be confirmed.
    seq: i64,
    /// Models that are computed at the same time and share the threads.
    side_by_side: usize,
    event: RunEvent,
}

impl Runner {
    /// Returns a runner; `streams` are the raw tables.
    #[must_use]
    pub fn new(
        catalog: Catalog,
        models: Vec<Model>,
        natives: Vec<Arc<dyn NativeModel>>,
        streams: Vec<TableSpec>,
    ) -> Self {
        let natives: BTreeMap<_, _> = natives.into_iter().map(|n| (n.model().name.clone(), n)).collect();
        let mut models = models;
        models.extend(natives.values().map(|n| n.model()));
        let beside: BTreeMap<String, String> = natives
            .iter()
            .flat_map(|(model, n)| n.tables().into_iter().map(|t| (t.name, model.clone())))
            .filter(|(table, model)| table != model)
            .collect();
        // Who reads a table beside waits for the model that writes it.
        for m in &mut models {
            let writers: BTreeSet<String> = m.inputs.iter().filter_map(|i| beside.get(i).cloned()).collect();
            m.inputs.extend(writers.into_iter().filter(|w| !m.inputs.contains(w)).collect::<Vec<_>>());
        }
        Self { catalog, models, natives, beside: beside.into_keys().collect(), streams }
    }

    /// Returns the models, shipped and native.
    #[must_use]
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// Computes whatever is due.
    ///
    /// # Errors
    /// A model that fails, or counts that do not add up; what was finished before stays finished.
    pub async fn run(
        &self,
        options: &RunOptions,
        progress: &dyn RunProgress,
    ) -> Result<RunSummary, PipelineError> {
        let mut state = self.open(options).await?;
        self.notice_changes(&mut state, options).await?;
        let wanted = self.wanted(&options.only);
        for level in levels(&self.models, &self.beside)? {
            let level: Vec<Model> = level.into_iter().filter(|m| wanted.contains(&m.name)).collect();
            self.prepare_tables(&level, &state).await?;
            self.run_level(&level, &mut state, options, progress).await?;
            // WHY: a certificate lets raw rows go, so it must not be given while some of the models
            // that read them were left out.
            if options.only.is_empty() {
                self.certify(&level, &mut state, options).await?;
            }
        }
        if options.only.is_empty() {
            self.note_read(&mut state, options).await?;
        }
        state.summary.findings = self.record(&state.findings, options.now_us).await?;
        state.book.fold(options.now_us).await?;
        Ok(state.summary)
    }

    fn wanted(&self, only: &[String]) -> BTreeSet<String> {
        if only.is_empty() {
            return self.models.iter().map(|m| m.name.clone()).collect();
        }
        let mut wanted: BTreeSet<String> = only.iter().cloned().collect();
        loop {
            let more: Vec<String> = self
                .models
                .iter()
                .filter(|m| wanted.contains(&m.name))
                .flat_map(|m| m.inputs.clone())
                .filter(|i| !wanted.contains(i))
                .collect();
            if more.is_empty() {
                return wanted;
            }
            wanted.extend(more);
        }
    }

    async fn open(&self, options: &RunOptions) -> Result<State, PipelineError> {
        let mut certificate_table = self.catalog.table(&certificate_table()).await?;
        self.catalog.table(&finding_table()).await?;
        let mut certificates = certificate::load(&certificate_table).await?;
        let mut raw = BTreeMap::new();
        let mut counts = BTreeMap::new();
        for spec in &self.streams {
            let table = self.catalog.table(spec).await?;
            if let Ok(stream) = spec.name.parse::<Stream>() {
                counts.insert(stream, RawCounts::of(&self.catalog, stream, &table).await?);
            }
            raw.insert(spec.name.clone(), table);
        }
        let book = Book::load(self.catalog.lake()).await?;
        let generation = book.next_number();
        crate::retention::recover(
            &mut certificate_table,
            &mut certificates,
            &counts,
            generation,
            options.now_us,
        )
        .await?;
        Ok(State {
            book,
            certificates,
            certificate_table,
            counts,
            raw,
            findings: Vec::new(),
            summary: RunSummary::default(),
        })
    }

    // Compares live raw rows with the certificates; every hour that differs is announced as
    // changed, which makes all that reads it due.
    async fn notice_changes(&self, state: &mut State, options: &RunOptions) -> Result<(), PipelineError> {
        for stream in state.counts.keys().copied().collect::<Vec<_>>() {
            let name = stream.name();
            let mut ranges: Vec<Interval> = Vec::new();
            let mut previous: Option<(i64, bool)> = None;
            let hours = state.counts.get(&stream).map(|c| c.hours.clone()).unwrap_or_default();
            self.expect_late(state, name, &hours, options).await?;
            let vanished = state.vanished(name);
            state.findings.extend(vanished);
            for (hour, rows) in hours {
                let range = Interval::new(hour, SEAL.next(hour));
                if range.to_us > options.until_us {
                    continue;
                }
                let known = state.certificates.get(&(name.to_owned(), hour));
                let changed = known.is_none_or(|c| c.raw_rows != rows);
                let plain = known.is_none_or(|c| c.generation == 0);
                if known.is_some_and(|c| c.raw_rows > rows) {
                    previous = None;
                    continue;
                }
                if changed {
                    // Empty hours between two changed ones belong to the same step.
                    match (ranges.last_mut(), previous) {
                        (Some(last), Some((_, true))) if plain => last.to_us = range.to_us,
                        _ => ranges.push(range),
                    }
                }
                previous = Some((hour, changed && plain));
            }
            let ranges = self.split_at_certificates(state, name, ranges);
            state.book.announce(name, 0, &ranges, options.now_us).await?;
        }
        Ok(())
    }

    // An hour that was never sealed may lie where finer tables are already deleted or thinned: its
    // rows then merge in a generation of their own. That decision is stored before any row is
    // written, so that a crash repeats it.
    async fn expect_late(
        &self,
        state: &mut State,
        stream: &str,
        hours: &BTreeMap<i64, i64>,
        options: &RunOptions,
    ) -> Result<(), PipelineError> {
        let names: Vec<String> = self.models.iter().map(|m| m.name.clone()).collect();
        let generation = state.book.next_number();
        let mut pending = Vec::new();
        for hour in hours.keys() {
            let range = Interval::new(*hour, SEAL.next(*hour));
            let fresh = !state.certificates.contains_key(&(stream.to_owned(), *hour));
            let whole = range.align(Grain::Day);
            let lossy = state.book.touched("gone", &names, whole);
            if fresh && range.to_us <= options.until_us && lossy {
                pending.push(Certificate {
                    stream: stream.to_owned(),
                    range,
                    generation,
                    raw_rows: 0,
                    deleted_rows: 0,
                    rollup_rows: 0,
                    late_rows: 0,
                    rejected_rows: 0,
                    state: "pending".to_owned(),
                    sealed_at_us: options.now_us,
                });
            }
        }
        certificate::store(&mut state.certificate_table, &mut state.certificates, pending).await?;
        Ok(())
    }

    // A range must not run over an hour whose raw rows are deleted or have vanished: computing it
    // again would put fewer rows, or none, in the place of sealed ones.
    fn split_at_certificates(&self, state: &State, stream: &str, ranges: Vec<Interval>) -> Vec<Interval> {
        let mut out = Vec::new();
        for range in ranges {
            let mut from = range.from_us;
            let inside = state
                .certificates
                .range((stream.to_owned(), range.from_us)..(stream.to_owned(), range.to_us));
            for (_, c) in
                inside.filter(|(_, c)| c.generation > 0 || state.live(stream, c.range.from_us) < c.raw_rows)
            {
                out.push(Interval::new(from, c.range.from_us));
                let live = state.live(stream, c.range.from_us) > c.raw_rows;
                if live {
                    out.push(c.range);
                }
                from = c.range.to_us;
            }
            out.push(Interval::new(from, range.to_us));
        }
        out.retain(|r| !r.is_empty());
        out
    }

    async fn prepare_tables(&self, level: &[Model], state: &State) -> Result<(), PipelineError> {
        for model in level {
            match &model.recipe {
                Recipe::Native => {
                    for spec in self.natives.get(&model.name).map(|n| n.tables()).unwrap_or_default() {
                        self.catalog.table(&spec).await?;
                    }
                }
                Recipe::Sql(sql) => {
                    let context = self.session(model, state, None, 1).await?;
                    let frame = bound(&context, &model.name, sql, Interval::new(0, 0)).await?;
                    self.catalog.table(&sql_spec(model, frame.schema().as_arrow())).await?;
                }
            }
        }
        Ok(())
    }

    async fn run_level(
        &self,
        level: &[Model],
        state: &mut State,
        options: &RunOptions,
        progress: &dyn RunProgress,
    ) -> Result<(), PipelineError> {
        let mut jobs = Vec::new();
        for model in level {
            let mut due =
                state.book.stale(&model.name, model.version, &model.inputs, model.interval, options.until_us);
            if self.natives.get(&model.name).is_some_and(|n| n.looks_back()) {
                due = onward(&due, state.book.done_until(&model.name, model.version), options.until_us);
            }
            if let Some(again) = options.again.filter(|_| options.only.contains(&model.name)) {
                due.push(again.align(model.interval));
                due = Interval::coalesce(due);
            }
            let (steps, expired) = self.steps(model, state, &due, options).await?;
            progress.plan(&model.name, steps.len());
            if due.is_empty() {
                state.summary.models.push(RunEvent { model: model.name.clone(), ..RunEvent::default() });
                continue;
            }
            let seq = state.book.announce(&model.name, model.version, &due, options.now_us).await?;
            let event =
                RunEvent { model: model.name.clone(), steps: steps.len(), expired, ..RunEvent::default() };
            jobs.push(Job { model, due, steps, seq, side_by_side: 1, event });
        }
        // WHY: rollups are many, and what they group is nearly unique: grouped in parts, sent about and grouped again it takes
        // longer (28 s instead of 23 for 10 M sign-ins). Of what is made from them, mostly one at a time is large and takes all threads.
        let is_rollup = |j: &Job<'_>| !j.steps.is_empty() && j.model.inputs.iter().any(|i| is_stream(i));
        let rollups = jobs.iter().filter(|j| is_rollup(j)).count();
        for job in jobs.iter_mut().filter(|j| is_rollup(j)) {
            job.side_by_side = options.parallel.clamp(1, rollups.max(1));
        }
        let (finished, failure) = self.run_jobs(jobs, state, options, progress).await;
        for Job { model, due, seq, event, .. } in finished {
            state.book.confirm(&model.name, model.version, &due, seq, options.now_us).await?;
            state.summary.models.push(event);
        }
        failure.map_or(Ok(()), Err)
    }

    // Several at a time; what finds no memory beside the others runs once more, alone.
    async fn run_jobs<'a>(
        &self,
        jobs: Vec<Job<'a>>,
        state: &State,
        options: &RunOptions,
        progress: &dyn RunProgress,
    ) -> (Vec<Job<'a>>, Option<PipelineError>) {
        let one = |mut job: Job<'a>| async move {
            let rows = self.run_model(&job, state, options, progress).await;
            let failed = rows.map(|rows| job.event.rows = rows).err();
            (job, failed)
        };
        let (mut finished, mut crowded, mut failure) = (Vec::new(), Vec::new(), None);
        let side_by_side = options.parallel.clamp(1, jobs.len().max(1));
        let mut running = futures::stream::iter(jobs.into_iter().map(one)).buffer_unordered(side_by_side);
        while let Some((job, failed)) = running.next().await {
            match failed {
                None => finished.push(job),
                Some(e) if e.is_out_of_memory() && side_by_side > 1 => crowded.push(job),
                Some(e) => failure = failure.or(Some(e)),
            }
        }
        drop(running);
        for job in crowded {
            progress.plan(&job.model.name, job.steps.len());
            match one(job).await {
                (job, None) => finished.push(job),
                (_, Some(e)) => failure = failure.or(Some(e)),
            }
        }
        (finished, failure)
    }

    async fn run_model(
        &self,
        job: &Job<'_>,
        state: &State,
        options: &RunOptions,
        progress: &dyn RunProgress,
    ) -> Result<i64, PipelineError> {
        let Job { model, due, steps, side_by_side, .. } = job;
        let mut rows = 0;
        if let Some(native) = self.natives.get(&model.name) {
            for range in due {
                let out = native.run(&self.catalog, *range, options.now_us).await?;
                let range = out.range.unwrap_or(*range);
                for spec in native.tables() {
                    let batches = out.tables.get(&spec.name).cloned().unwrap_or_default();
                    let mut table = self.catalog.table(&spec).await?;
                    let stream: BatchStream<'_> = futures::stream::iter(batches.into_iter().map(Ok)).boxed();
                    rows += table.replace(&[range], stream).await?.rows_added;
                }
                progress.step(&model.name);
            }
            return Ok(rows);
        }
        for step in steps {
            rows += self.run_step(model, state, step, *side_by_side).await?;
            progress.step(&model.name);
        }
        Ok(rows)
    }

    async fn run_step(
        &self,
        model: &Model,
        state: &State,
        step: &Step,
        side_by_side: usize,
    ) -> Result<i64, PipelineError> {
        let Recipe::Sql(sql) = &model.recipe else { return Ok(0) };
        let Some(mut table) = self.catalog.lake().existing(&model.name).await? else { return Ok(0) };
        let mut parts: Vec<BatchStream<'_>> = Vec::new();
        for generation in &step.generations {
            let context = self.session(model, state, Some(*generation), side_by_side).await?;
            let frame = bound(&context, &model.name, sql, step.range).await?;
            let stream = frame.execute_stream().await.map_err(PipelineError::query(&model.name))?;
            // A query of one thread would run where its rows are written, and all models with it.
            let apart =
                async move { if side_by_side > 1 { spawn_buffered(stream, BATCHES_AHEAD) } else { stream } };
            let stream = futures::stream::once(apart).flatten();
            let generation = *generation;
            parts.push(stream.map_err(boxed).map(move |b| b.and_then(|b| mark(&b, generation))).boxed());
        }
        if step.keep_others {
            let context = self.catalog.session_of(&[&model.name]).await?;
            let list: Vec<String> = step.generations.iter().map(ToString::to_string).collect();
            let sql = format!(
                "SELECT * FROM {} WHERE {} >= $from AND {} < $to AND late NOT IN ({})",
                model.name,
                model.time,
                model.time,
                list.join(", ")
            );
            let frame = bound(&context, &model.name, &sql, step.range).await?;
            let stream = frame.execute_stream().await.map_err(PipelineError::query(&model.name))?;
            parts.push(stream.map_err(boxed).boxed());
        }
        let change = table.replace(&[step.range], futures::stream::iter(parts).flatten().boxed()).await?;
        Ok(change.rows_added)
    }

    // Inputs of one generation: rows of raw streams have none, so they stand for whichever is asked.
    async fn session(
        &self,
        model: &Model,
        state: &State,
        generation: Option<i64>,
        side_by_side: usize,
    ) -> Result<SessionContext, PipelineError> {
        let context = self.catalog.session_beside(side_by_side)?;
        for input in &model.inputs {
            if let Some(raw) = state.raw.get(input) {
                context.register_table(input, Catalog::pin(raw)?).map_err(PipelineError::query(input))?;
                continue;
            }
            let Some(table) = self.catalog.lake().existing(input).await? else { continue };
            let provider = Catalog::pin(&table)?;
            let marked = table.schema().field_with_name("late").is_ok();
            match generation.filter(|_| marked) {
                None => context.register_table(input, provider).map_err(PipelineError::query(input))?,
                Some(g) => {
                    let frame = context.read_table(provider).map_err(PipelineError::query(input))?;
                    let late = datafusion::prelude::col("late").eq(datafusion::prelude::lit(g));
                    let view = frame.filter(late).map_err(PipelineError::query(input))?.into_view();
                    context.register_table(input, view).map_err(PipelineError::query(input))?
                }
            };
        }
        Ok(context)
    }

    async fn steps(
        &self,
        model: &Model,
        state: &State,
        due: &[Interval],
        options: &RunOptions,
    ) -> Result<(Vec<Step>, usize), PipelineError> {
        if matches!(model.recipe, Recipe::Native) {
            return Ok((
                due.iter().map(|r| Step { range: *r, generations: vec![0], keep_others: false }).collect(),
                0,
            ));
        }
        let from_raw = model.inputs.iter().any(|i| is_stream(i));
        let mut steps = Vec::new();
        let mut expired = 0;
        for range in due {
            if from_raw {
                expired += self.raw_steps(model, state, *range, options, &mut steps);
            } else {
                expired += self.derived_steps(model, state, *range, options, &mut steps).await?;
            }
        }
        Ok((steps, expired))
    }

    // Live hours only; an hour whose raw rows were deleted before gets its own step.
    fn raw_steps(
        &self,
        model: &Model,
        state: &State,
        range: Interval,
        options: &RunOptions,
        steps: &mut Vec<Step>,
    ) -> usize {
        let Some(stream) = model.inputs.iter().find(|i| is_stream(i)) else { return 0 };
        let most = model.batch_rows.map_or(options.batch_rows, |n| n.min(options.batch_rows));
        let mut expired = 0;
        let mut open: Option<(Interval, i64)> = None;
        let live = stream.parse::<Stream>().ok().and_then(|s| state.counts.get(&s));
        let gone = state.certificates.range((stream.clone(), range.from_us)..(stream.clone(), range.to_us));
        // WHY: an hour whose raw rows vanished keeps its sealed rows; no step may run over it.
        let lost = |c: &Certificate| state.live(stream, c.range.from_us) < c.raw_rows;
        let gone: BTreeMap<i64, (i64, bool)> = gone
            .filter(|(_, c)| c.generation > 0 || lost(c))
            .map(|(k, c)| (k.1, (c.generation, lost(c))))
            .collect();
        let mut hours: BTreeMap<i64, i64> = gone.keys().map(|h| (*h, 0)).collect();
        if let Some(live) = live {
            hours.extend(live.hours.range(range.from_us..range.to_us).map(|(h, n)| (*h, *n)));
        }
        for (hour, rows) in hours {
            let one = Interval::new(hour, SEAL.next(hour));
            let (generation, lost) = gone.get(&hour).copied().unwrap_or_default();
            if generation > 0 || lost {
                steps.extend(open.take().map(|(r, _)| Step {
                    range: r,
                    generations: vec![0],
                    keep_others: false,
                }));
                if rows == 0 || lost {
                    expired += 1;
                } else {
                    steps.push(Step { range: one, generations: vec![generation], keep_others: true });
                }
                continue;
            }
            open = Some(match open.take() {
                Some((r, n)) if n + rows <= most => (Interval::new(r.from_us, one.to_us), n + rows),
                Some((r, _)) => {
                    steps.push(Step { range: r, generations: vec![0], keep_others: false });
                    (one, rows)
                }
                None => (one, rows),
            });
        }
        steps.extend(open.map(|(r, _)| Step { range: r, generations: vec![0], keep_others: false }));
        expired
    }

    async fn derived_steps(
        &self,
        model: &Model,
        state: &State,
        range: Interval,
        options: &RunOptions,
        steps: &mut Vec<Step>,
    ) -> Result<usize, PipelineError> {
        let mut files = Vec::new();
        for input in &model.inputs {
            if let Some(t) = self.catalog.lake().existing(input).await? {
                files.extend(t.files()?);
            }
        }
        let rows_in = |r: Interval| -> i64 {
            files
                .iter()
                .filter(|f| f.time.is_some_and(|t| r.overlaps(Interval::new(t.min_us, t.max_us + 1))))
                .map(|f| f.rows)
                .sum()
        };
        let most = model.batch_rows.map_or(options.batch_rows, |n| n.min(options.batch_rows));
        let mut expired = 0;
        let mut open: Option<Interval> = None;
        let mut push = |r: Interval, steps: &mut Vec<Step>| {
            let intact = state.intact(model, r);
            let inside = || state.certificates.values().filter(|c| c.generation > 0 && c.range.overlaps(r));
            let late: BTreeSet<i64> = inside()
                .filter(|c| intact || matches!(c.state.as_str(), "sealed" | "pending"))
                .map(|c| c.generation)
                .collect();
            let any_late = inside().next().is_some();
            let mut generations: Vec<i64> = if intact { vec![0] } else { Vec::new() };
            generations.extend(late);
            expired += usize::from(!intact);
            if !generations.is_empty() {
                steps.push(Step { range: r, generations, keep_others: any_late || !intact });
            }
        };
        for one in range.split(model.interval) {
            open = Some(match open {
                None => one,
                Some(r) => {
                    let joined = Interval::new(r.from_us, one.to_us);
                    let same = state.intact(model, r) == state.intact(model, one);
                    if same && rows_in(joined) <= most {
                        joined
                    } else {
                        push(r, steps);
                        one
                    }
                }
            });
        }
        if let Some(r) = open {
            push(r, steps);
        }
        Ok(expired)
    }
}

impl State {
    // Whether the inputs of a model hold all they ever held of an interval: nothing deleted, and
    // what was thinned written again from living raw rows.
    fn intact(&self, model: &Model, range: Interval) -> bool {
        if self.book.touched("gone", &model.inputs, range)
            || self.book.touched_last("thin", &model.inputs, range)
        {
            return false;
        }
        let thinned = self.book.touched("thin", &model.inputs, range);
        !thinned || !self.certificates.values().any(|c| c.generation > 0 && c.range.overlaps(range))
    }

    // Hours of which fewer raw rows live than were sealed, although nobody deleted them here.
    fn vanished(&self, stream: &str) -> Vec<FindingRow> {
        let of = self.certificates.range((stream.to_owned(), i64::MIN)..=(stream.to_owned(), i64::MAX));
        let lost = of.filter_map(|((_, hour), c)| {
            let rows = c.raw_rows - self.live(stream, *hour);
            (rows > 0).then(|| FindingRow {
                kind: "vanished".to_owned(),
                subject: format!("{stream} {}", shown(c.range)),
                detail: format!(
                    "{rows} of {} sealed raw rows are gone although nobody deleted them here; the sealed numbers stay",
                    c.raw_rows
                ),
                first_seen_us: Some(c.range.from_us),
                metrics: Vec::new(),
            })
        });
        lost.collect()
    }

    fn live(&self, stream: &str, hour: i64) -> i64 {
        let counts = stream.parse::<Stream>().ok().and_then(|s| self.counts.get(&s));
        counts.and_then(|c| c.hours.get(&hour)).copied().unwrap_or(0)
    }
}

// One interval from the first that is due to the end of what was done, or of what is due if that is later.
fn onward(due: &[Interval], done_us: Option<i64>, until_us: i64) -> Vec<Interval> {
    let (Some(first), Some(last)) = (due.first(), due.last()) else { return Vec::new() };
    let end_us = done_us.filter(|d| *d <= until_us).unwrap_or(last.to_us);
    vec![Interval::new(first.from_us, end_us.max(last.to_us))]
}

fn boxed(e: datafusion::error::DataFusionError) -> Box<dyn std::error::Error + Send + Sync> {
    Box::new(std::io::Error::other(e.strip_backtrace()))
}

fn mark(
    batch: &RecordBatch,
    generation: i64,
) -> Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>> {
    let mut fields: Vec<Field> = batch.schema().fields().iter().map(|f| f.as_ref().clone()).collect();
    let mut columns = batch.columns().to_vec();
    fields.push(Field::new("late", DataType::Int64, true));
    columns.push(Arc::new(Int64Array::from(vec![generation; batch.num_rows()])));
    Ok(RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)?)
}

fn sql_spec(model: &Model, schema: &Schema) -> TableSpec {
    let mut fields: Vec<Field> =
        schema.fields().iter().map(|f| Field::new(f.name(), stored_type(f.data_type()), true)).collect();
    fields.push(Field::new("late", DataType::Int64, true));
    TableSpec {
        name: model.name.clone(),
        schema: Arc::new(Schema::new(fields)),
        time_column: Some(model.time.clone()),
    }
}

fn stored_type(kind: &DataType) -> DataType {
    match kind {
        DataType::Timestamp(_, _) => utc_microseconds(),
        other => other.clone(),
    }
}

/// Returns an interval as text.
pub(crate) fn shown(range: Interval) -> String {
    let text = |us: i64| {
        chrono::DateTime::from_timestamp_micros(us)
            .map_or_else(|| us.to_string(), |t| t.format("%F %H:%M").to_string())
    };
    format!("{} to {}", text(range.from_us), text(range.to_us))
}
