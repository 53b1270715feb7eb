//! One Delta table: how rows enter, are replaced and leave.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use arrow::array::{AsArray, BooleanArray};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimestampMicrosecondType};
use arrow::record_batch::RecordBatch;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, Remove, StructField, StructType, Transaction};
use deltalake_core::operations::create::CreateBuilder;
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableBuilder, DeltaTableError};
use fishweir_events::Interval;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use url::Url;

use crate::error::LakeError;
use crate::files::{DataFile, FileWriter, fit, read_stats, stats_json};

/// What a table is.
#[derive(Clone, Debug)]
pub struct TableSpec {
    /// Name and folder.
    pub name: String,
    /// Columns; integers signed, times microseconds UTC.
    pub schema: SchemaRef,
    /// Column that intervals refer to.
    pub time_column: Option<String>,
}

/// New rows of a replace.
pub type BatchStream<'a> = BoxStream<'a, Result<RecordBatch, Box<dyn std::error::Error + Send + Sync>>>;

/// Identity of a write, so that it happens once: `app` moves from `after` to `version`, and a
/// table on which `app` stands elsewhere refuses the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Who writes.
    pub app: String,
    /// How far this writer had come; 0 when it never wrote.
    pub after: i64,
    /// How far this writer comes with these rows.
    pub version: i64,
}

/// Outcome of an append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Append {
    /// The rows are in the table now.
    Added,
    /// The same write was committed before; nothing changed.
    AlreadyThere,
    /// A writer stands neither at `after` nor at or behind `version`; nothing changed.
    Moved {
        /// Which of the commits.
        index: usize,
        /// Where it stands.
        at: i64,
    },
}

/// Rows that a replace, delete or compaction moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Rows taken out.
    pub rows_removed: i64,
    /// Rows put in.
    pub rows_added: i64,
    /// Files taken out.
    pub files_removed: usize,
    /// Bytes taken out.
    pub bytes_removed: i64,
}

/// An open table at its latest known version.
#[derive(Debug)]
pub struct Table {
    name: String,
    delta: DeltaTable,
    schema: SchemaRef,
    time_column: Option<String>,
    /// How far writers are known to have come, at the version held. Asking the log replays it.
    writers: Mutex<HashMap<String, Option<i64>>>,
}

const TIME_COLUMN_KEY: &str = "fishweir.timeColumn";
const TRIES_MAX: usize = 20;
const COMMIT_RETRIES: usize = 50;
const CHECKPOINT_EVERY: &str = "50";

impl Table {
    pub(crate) async fn open_or_create(
        builder: DeltaTableBuilder,
        spec: &TableSpec,
    ) -> Result<Self, LakeError> {
        let delta = builder.build().map_err(LakeError::delta(&spec.name))?;
        let mut table = Self {
            name: spec.name.clone(),
            delta,
            schema: stored_schema(&spec.schema),
            time_column: spec.time_column.clone(),
            writers: Mutex::default(),
        };
        match table.delta.load().await {
            Ok(()) => {}
            Err(DeltaTableError::NotATable(_) | DeltaTableError::InvalidTableLocation(_)) => {
                table.create().await?;
            }
            Err(e) => return Err(LakeError::delta(&spec.name)(e)),
        }
        table.fit_schema().await?;
        Ok(table)
    }

    pub(crate) async fn open_existing(
        builder: DeltaTableBuilder,
        name: &str,
    ) -> Result<Option<Self>, LakeError> {
        let mut delta = builder.build().map_err(LakeError::delta(name))?;
        match delta.load().await {
            Ok(()) => {}
            Err(DeltaTableError::NotATable(_) | DeltaTableError::InvalidTableLocation(_)) => {
                return Ok(None);
            }
            Err(e) => return Err(LakeError::delta(name)(e)),
        }
        let state = delta.snapshot().map_err(LakeError::delta(name))?;
        let schema = state.snapshot().arrow_schema();
        let time_column = state.metadata().configuration().get(TIME_COLUMN_KEY).cloned();
        Ok(Some(Self { name: name.to_owned(), delta, schema, time_column, writers: Mutex::default() }))
    }

    async fn create(&mut self) -> Result<(), LakeError> {
        use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
        let bad = LakeError::rows(&self.name);
        let columns: StructType = self.schema.as_ref().try_into_kernel().map_err(bad)?;
        let mut settings = vec![
            ("delta.checkpointInterval".to_owned(), Some(CHECKPOINT_EVERY.to_owned())),
            ("delta.dataSkippingStatsColumns".to_owned(), Some(self.time_column.clone().unwrap_or_default())),
        ];
        if let Some(column) = &self.time_column {
            settings.push((TIME_COLUMN_KEY.to_owned(), Some(column.clone())));
        } else {
            settings.pop();
        }
        let created = CreateBuilder::new()
            .with_log_store(self.delta.log_store())
            .with_table_name(&self.name)
            .with_columns(columns.fields().cloned())
            .with_configuration(settings)
            .with_raise_if_key_not_exists(false)
            .with_save_mode(SaveMode::Ignore)
            .await;
        if let Err(e) = created {
            // WHY: another process may have created the table in the same moment.
            self.delta.load().await.map_err(|_| LakeError::delta(&self.name)(e))?;
            return Ok(());
        }
        self.delta.load().await.map_err(LakeError::delta(&self.name))
    }

    // Columns that a later version asks for are added, null in the rows that are there. A column of
    // another type is another table.
    async fn fit_schema(&mut self) -> Result<(), LakeError> {
        for _ in 0..TRIES_MAX {
            let missing = self.missing_columns()?;
            if missing.is_empty() {
                return self.take_nullability();
            }
            match self.delta.clone().add_columns().with_fields(missing).await {
                Ok(delta) => self.delta = delta,
                // WHY: another process may be adding the same columns.
                Err(e) if is_conflict(&e) => {
                    self.delta.update_state().await.map_err(LakeError::delta(&self.name))?;
                }
                Err(e) => return Err(LakeError::delta(&self.name)(e)),
            }
        }
        Err(LakeError::Contended { table: self.name.clone(), tries: TRIES_MAX })
    }

    // A column that came later may be null in older rows, whatever its model promises.
    fn take_nullability(&mut self) -> Result<(), LakeError> {
        let stored = self.delta.snapshot().map_err(LakeError::delta(&self.name))?;
        let stored = stored.snapshot().arrow_schema();
        let fields = self.schema.fields().iter().map(|f| {
            let null = stored.field_with_name(f.name()).map_or(true, Field::is_nullable);
            f.as_ref().clone().with_nullable(null)
        });
        self.schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        Ok(())
    }

    fn missing_columns(&self) -> Result<Vec<StructField>, LakeError> {
        use deltalake_core::kernel::engine::arrow_conversion::TryIntoKernel as _;
        let stored = self.delta.snapshot().map_err(LakeError::delta(&self.name))?;
        let stored = stored.snapshot().arrow_schema();
        let mut missing = Vec::new();
        for field in self.schema.fields() {
            match stored.field_with_name(field.name()) {
                Ok(f) if f.data_type() == field.data_type() => {}
                Ok(f) => {
                    return Err(LakeError::Rows {
                        table: self.name.clone(),
                        cause: format!(
                            "column `{}` is stored as {}, this version wants {}; it was made by another version",
                            field.name(),
                            f.data_type(),
                            field.data_type()
                        ),
                    });
                }
                Err(_) => missing.push(Field::new(field.name(), field.data_type().clone(), true)),
            }
        }
        let added: StructType =
            (&Schema::new(missing)).try_into_kernel().map_err(LakeError::rows(&self.name))?;
        Ok(added.fields().cloned().collect())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the stored columns.
    #[must_use]
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Returns the column that intervals refer to.
    #[must_use]
    pub fn time_column(&self) -> Option<&str> {
        self.time_column.as_deref()
    }

    /// Returns the location of the table.
    #[must_use]
    pub fn url(&self) -> &Url {
        self.delta.table_url()
    }

    /// Returns the version of the log this handle has read.
    #[must_use]
    pub fn version(&self) -> i64 {
        self.delta.version().and_then(|v| i64::try_from(v).ok()).unwrap_or(-1)
    }

    /// Reads what others committed since.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn refresh(&mut self) -> Result<(), LakeError> {
        let before = self.delta.version();
        self.delta.update_state().await.map_err(LakeError::delta(&self.name))?;
        if self.delta.version() != before
            && let Ok(mut known) = self.writers.lock()
        {
            known.clear();
        }
        Ok(())
    }

    /// Returns the data files of this version.
    ///
    /// # Errors
    /// A table that was never loaded.
    pub fn files(&self) -> Result<Vec<DataFile>, LakeError> {
        let state = self.delta.snapshot().map_err(LakeError::delta(&self.name))?;
        let log = state.log_data();
        let files = log.iter().map(|f| {
            let (rows, time) = read_stats(f.stats().as_deref(), self.time_column());
            DataFile { path: f.path().into_owned(), size_bytes: f.size(), rows, time }
        });
        Ok(files.collect())
    }

    /// Returns how far a writer has come, `None` when it never wrote.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn committed(&self, app: &str) -> Result<Option<i64>, LakeError> {
        let known = self.writers.lock().ok().and_then(|w| w.get(app).copied());
        if let Some(at) = known {
            return Ok(at);
        }
        let state = self.delta.snapshot().map_err(LakeError::delta(&self.name))?;
        let at = state
            .transaction_version(self.delta.log_store().as_ref(), app)
            .await
            .map_err(LakeError::delta(&self.name))?;
        if let Ok(mut known) = self.writers.lock() {
            known.insert(app.to_owned(), at);
        }
        Ok(at)
    }

    /// Adds rows once, moving every given writer forward in the same atomic step.
    ///
    /// # Errors
    /// Rows that do not fit, or storage that fails; then nothing was added.
    pub async fn append(&mut self, batches: &[RecordBatch], commits: &[Commit]) -> Result<Append, LakeError> {
        if let Some(done) = self.standing(commits).await? {
            return Ok(done);
        }
        let mut writer = self.writer();
        for batch in batches {
            writer.write(batch).await?;
        }
        let files = writer.finish().await?;
        for _ in 0..TRIES_MAX {
            let actions = files.iter().map(|f| self.add(f, true)).collect();
            match self.commit(actions, commits, SaveMode::Append).await {
                Ok(()) => return Ok(Append::Added),
                Err(e) if is_conflict(&e) => {
                    self.refresh().await?;
                    if let Some(done) = self.standing(commits).await? {
                        self.discard(&files).await;
                        return Ok(done);
                    }
                }
                Err(e) => return Err(LakeError::delta(&self.name)(e)),
            }
        }
        Err(LakeError::Contended { table: self.name.clone(), tries: TRIES_MAX })
    }

    async fn standing(&self, commits: &[Commit]) -> Result<Option<Append>, LakeError> {
        for (index, c) in commits.iter().enumerate() {
            let at = self.committed(&c.app).await?.unwrap_or(0);
            if at >= c.version {
                return Ok(Some(Append::AlreadyThere));
            }
            if at != c.after {
                return Ok(Some(Append::Moved { index, at }));
            }
        }
        Ok(None)
    }

    /// Puts new rows in the place of all rows inside the intervals, in one atomic step.
    ///
    /// New rows must lie inside the intervals; doing the same replace again changes nothing.
    ///
    /// # Errors
    /// A failing source, rows that do not fit or lie outside, or storage that fails; then the
    /// table is unchanged.
    pub async fn replace(
        &mut self,
        ranges: &[Interval],
        mut rows: BatchStream<'_>,
    ) -> Result<Change, LakeError> {
        let mut writer = self.writer();
        while let Some(batch) = rows.next().await {
            let batch = batch.map_err(|cause| LakeError::Source { table: self.name.clone(), cause })?;
            let batch = fit(&self.name, &batch, &self.schema)?;
            self.check_inside(&batch, ranges)?;
            writer.write(&batch).await?;
        }
        let fresh = writer.finish().await?;
        self.swap(ranges, &fresh, TRIES_MAX).await
    }

    /// Removes all rows inside the intervals, and the files that held only such rows from storage.
    ///
    /// # Errors
    /// Storage that fails; then either all or none of the rows are gone.
    pub async fn delete(&mut self, ranges: &[Interval]) -> Result<Change, LakeError> {
        self.refresh().await?;
        self.swap(ranges, &[], TRIES_MAX).await
    }

    /// Removes all rows inside the intervals as this handle knows them; `None`, and nothing
    /// removed, when somebody added rows there since the handle was read.
    ///
    /// # Errors
    /// Storage that fails; then either all or none of the rows are gone.
    pub async fn delete_if_unchanged(&mut self, ranges: &[Interval]) -> Result<Option<Change>, LakeError> {
        let inside = |table: &Self| -> Result<Vec<String>, LakeError> {
            let met = table.files()?.into_iter().filter(|f| meets(f, ranges));
            let mut names: Vec<String> = met.map(|f| f.path).collect();
            names.sort();
            Ok(names)
        };
        let known = inside(self)?;
        self.refresh().await?;
        if inside(self)? != known {
            return Ok(None);
        }
        // WHY one try: a retry would look at files that nobody compared.
        match self.swap(ranges, &[], 1).await {
            Ok(change) => Ok(Some(change)),
            Err(LakeError::Contended { .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }

    async fn swap(
        &mut self,
        ranges: &[Interval],
        fresh: &[DataFile],
        tries: usize,
    ) -> Result<Change, LakeError> {
        for _ in 0..tries {
            let mut actions: Vec<Action> = fresh.iter().map(|f| self.add(f, true)).collect();
            let mut change = Change { rows_added: fresh.iter().map(|f| f.rows).sum(), ..Change::default() };
            let mut rewritten: Vec<DataFile> = Vec::new();
            let mut gone = Vec::new();
            for file in self.files()?.into_iter().filter(|f| meets(f, ranges)) {
                if !inside(&file, ranges) {
                    let kept = self.rewrite_outside(&file, ranges).await?;
                    change.rows_removed -= kept.iter().map(|f| f.rows).sum::<i64>();
                    actions.extend(kept.iter().map(|f| self.add(f, true)));
                    rewritten.extend(kept);
                }
                change.rows_removed += file.rows;
                change.files_removed += 1;
                change.bytes_removed += file.size_bytes;
                actions.push(Action::Remove(self.remove(&file)));
                gone.push(file);
            }
            if actions.is_empty() {
                return Ok(change);
            }
            let app = "replace".to_owned();
            let after = self.committed(&app).await?.unwrap_or(0);
            let commit = Commit { app, after, version: after + 1 };
            match self.commit(actions, &[commit], SaveMode::Overwrite).await {
                Ok(()) => {
                    self.discard(&gone).await;
                    return Ok(change);
                }
                Err(e) if is_conflict(&e) => {
                    self.discard(&rewritten).await;
                    self.refresh().await?;
                }
                Err(e) => return Err(LakeError::delta(&self.name)(e)),
            }
        }
        Err(LakeError::Contended { table: self.name.clone(), tries })
    }

    /// Merges small files into larger ones without changing any row.
    ///
    /// # Errors
    /// Storage that fails; the table is unchanged then.
    pub async fn compact(&mut self, small_bytes: i64) -> Result<Change, LakeError> {
        self.refresh().await?;
        let mut small: Vec<_> = self.files()?.into_iter().filter(|f| f.size_bytes < small_bytes).collect();
        if small.len() < 2 {
            return Ok(Change::default());
        }
        small.sort_by_key(|f| f.time.map_or(i64::MIN, |t| t.min_us));
        let mut writer = self.writer();
        for file in &small {
            for batch in self.read_file(file).await? {
                writer.write(&batch).await?;
            }
        }
        let merged = writer.finish().await?;
        let mut actions: Vec<Action> = merged.iter().map(|f| self.add(f, false)).collect();
        for file in &small {
            let remove = Remove { data_change: false, ..self.remove(file) };
            actions.push(Action::Remove(remove));
        }
        match self.commit(actions, &[], SaveMode::Overwrite).await {
            Ok(()) => {}
            Err(e) if is_conflict(&e) => {
                // Somebody replaced one of the files meanwhile: compaction can wait.
                self.discard(&merged).await;
                self.refresh().await?;
                return Ok(Change::default());
            }
            Err(e) => return Err(LakeError::delta(&self.name)(e)),
        }
        self.discard(&small).await;
        Ok(Change {
            rows_removed: small.iter().map(|f| f.rows).sum(),
            rows_added: merged.iter().map(|f| f.rows).sum(),
            files_removed: small.len(),
            bytes_removed: small.iter().map(|f| f.size_bytes).sum(),
        })
    }

    /// Removes files that the log dropped but a crash left in storage; returns how many.
    ///
    /// # Errors
    /// A log that cannot be read.
    pub async fn sweep(&self) -> Result<usize, LakeError> {
        let state = self.delta.snapshot().map_err(LakeError::delta(&self.name))?;
        let store = self.delta.log_store();
        let dead: Vec<String> = state
            .all_tombstones(store.as_ref())
            .map_ok(|t| t.path().to_string())
            .try_collect()
            .await
            .map_err(LakeError::delta(&self.name))?;
        let mut swept = 0;
        for path in dead {
            if self.store().delete(&Path::from(path.as_str())).await.is_ok() {
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Removes data files that no log entry ever named and that were last written before
    /// `before_us`: what a writer left that died between writing and committing. Returns how many.
    ///
    /// A writer at work has such files too, so `before_us` must lie further back than any write
    /// takes.
    ///
    /// # Errors
    /// A log or a folder that cannot be read.
    pub async fn sweep_orphans(&self, before_us: i64) -> Result<usize, LakeError> {
        let live: HashSet<String> = self.files()?.into_iter().map(|f| f.path).collect();
        let store = self.store();
        let listed: Vec<_> =
            store.list(None).try_collect().await.map_err(LakeError::store(&self.name, "(listing)"))?;
        let mut swept = 0;
        for file in listed {
            let path = file.location.as_ref();
            let dead = path.ends_with(".parquet") && !path.starts_with("_delta_log") && !live.contains(path);
            if dead && file.last_modified.timestamp_micros() < before_us {
                store.delete(&file.location).await.map_err(LakeError::store(&self.name, path))?;
                swept += 1;
            }
        }
        Ok(swept)
    }

    /// Returns the rows of one file, in the table's columns and types.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub async fn read_file(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        let read = self.read(file, None).await?;
        read.iter().map(|batch| fit(&self.name, batch, &self.schema)).collect()
    }

    /// Returns the named columns of a file in pieces, as stored and in the table's order.
    ///
    /// # Errors
    /// As [`Self::read_file`].
    pub async fn read_columns(&self, file: &DataFile, names: &[&str]) -> Result<Vec<RecordBatch>, LakeError> {
        self.read(file, Some(names)).await
    }

    async fn read(&self, file: &DataFile, names: Option<&[&str]>) -> Result<Vec<RecordBatch>, LakeError> {
        let got = self.store().get(&Path::from(file.path.as_str())).await;
        let bytes = got.map_err(LakeError::store(&self.name, &file.path))?.bytes().await;
        let bytes = bytes.map_err(LakeError::store(&self.name, &file.path))?;
        let bad = LakeError::parquet(&self.name, &file.path);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(&bad)?;
        let mask = match names {
            Some(names) => ProjectionMask::columns(reader.parquet_schema(), names.iter().copied()),
            None => ProjectionMask::all(),
        };
        let reader = reader.with_projection(mask).with_batch_size(READ_ROWS).build().map_err(&bad)?;
        reader.map(|batch| batch.map_err(LakeError::rows(&self.name))).collect()
    }

    async fn rewrite_outside(
        &self,
        file: &DataFile,
        ranges: &[Interval],
    ) -> Result<Vec<DataFile>, LakeError> {
        let mut writer = self.writer();
        for batch in self.read_file(file).await? {
            let mask = self.inside_mask(&batch, ranges)?;
            let outside = arrow::compute::not(&mask).map_err(LakeError::rows(&self.name))?;
            let kept = filter_record_batch(&batch, &outside).map_err(LakeError::rows(&self.name))?;
            writer.write(&kept).await?;
        }
        writer.finish().await
    }

    fn inside_mask(&self, batch: &RecordBatch, ranges: &[Interval]) -> Result<BooleanArray, LakeError> {
        let column = self.time_column.as_deref().and_then(|c| batch.column_by_name(c));
        let column = column.ok_or_else(|| LakeError::Rows {
            table: self.name.clone(),
            cause: "the table has no time column, so no interval of it can be replaced".to_owned(),
        })?;
        let times = column.as_primitive::<TimestampMicrosecondType>();
        Ok(times.iter().map(|t| Some(t.is_some_and(|t| within(t, ranges)))).collect())
    }

    fn check_inside(&self, batch: &RecordBatch, ranges: &[Interval]) -> Result<(), LakeError> {
        let mask = self.inside_mask(batch, ranges)?;
        if mask.true_count() == batch.num_rows() {
            return Ok(());
        }
        Err(LakeError::Rows {
            table: self.name.clone(),
            cause: "a new row lies outside the replaced interval".to_owned(),
        })
    }

    fn store(&self) -> Arc<dyn ObjectStore> {
        self.delta.object_store()
    }

    fn writer(&self) -> FileWriter {
        let schema = Arc::clone(&self.schema);
        FileWriter::new(&self.name, self.store(), schema, self.time_column.clone())
    }

    // Files of a commit that did not happen, or that the log no longer names, are only waste.
    async fn discard(&self, files: &[DataFile]) {
        for f in files {
            let _ = self.store().delete(&Path::from(f.path.as_str())).await;
        }
    }

    fn add(&self, f: &DataFile, data_change: bool) -> Action {
        Action::Add(Add {
            path: f.path.clone(),
            partition_values: std::collections::HashMap::new(),
            size: f.size_bytes,
            modification_time: 0,
            data_change,
            stats: Some(stats_json(f, self.time_column())),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
            clustering_provider: None,
        })
    }

    fn remove(&self, f: &DataFile) -> Remove {
        Remove {
            path: f.path.clone(),
            data_change: true,
            deletion_timestamp: Some(chrono::Utc::now().timestamp_millis()),
            extended_file_metadata: Some(true),
            partition_values: Some(std::collections::HashMap::new()),
            size: Some(f.size_bytes),
            tags: None,
            deletion_vector: None,
            base_row_id: None,
            default_row_commit_version: None,
        }
    }

    async fn commit(
        &mut self,
        actions: Vec<Action>,
        commits: &[Commit],
        mode: SaveMode,
    ) -> Result<(), DeltaTableError> {
        let mut properties = CommitProperties::default().with_max_retries(COMMIT_RETRIES);
        for c in commits {
            let txn = Transaction { app_id: c.app.clone(), version: c.version, last_updated: None };
            properties = properties.with_application_transaction(txn);
        }
        let operation = DeltaOperation::Write { mode, partition_by: None, predicate: None };
        let state = self.delta.snapshot()?;
        let before = self.delta.version();
        CommitBuilder::from(properties)
            .with_actions(actions)
            .build(Some(state), self.delta.log_store(), operation)
            .await?;
        self.delta.update_state().await?;
        // WHY: only when nobody else committed in between is what was known still true.
        let alone = before.is_some() && self.delta.version() == before.map(|v| v + 1);
        if let Ok(mut known) = self.writers.lock() {
            if !alone {
                known.clear();
            }
            known.extend(commits.iter().filter(|_| alone).map(|c| (c.app.clone(), Some(c.version))));
        }
        Ok(())
    }
}

const READ_ROWS: usize = 65_536;

fn is_conflict(e: &DeltaTableError) -> bool {
    let inner = match e {
        DeltaTableError::Transaction { source } => source,
        _ => return false,
    };
    matches!(
        inner,
        TransactionError::CommitConflict(_)
            | TransactionError::MaxCommitAttempts(_)
            | TransactionError::VersionAlreadyExists(_)
    )
}

fn within(us: i64, ranges: &[Interval]) -> bool {
    let i = ranges.partition_point(|r| r.to_us <= us);
    ranges.get(i).is_some_and(|r| r.contains(us))
}

fn meets(f: &DataFile, ranges: &[Interval]) -> bool {
    // INVARIANT: a file without known times may hold any row, so it is always looked into.
    f.time.is_none_or(|t| {
        let span = Interval::new(t.min_us, t.max_us.saturating_add(1));
        ranges.iter().any(|r| r.overlaps(span))
    })
}

fn inside(f: &DataFile, ranges: &[Interval]) -> bool {
    f.time.is_some_and(|t| ranges.iter().any(|r| r.contains(t.min_us) && r.contains(t.max_us)))
}

// Delta has no view types and no unsigned integers: text and bytes are stored plainly.
fn stored_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|f| {
        let kind = match f.data_type() {
            DataType::Utf8View | DataType::LargeUtf8 | DataType::Dictionary(_, _) => DataType::Utf8,
            DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
            DataType::UInt8 | DataType::UInt16 | DataType::UInt32 | DataType::UInt64 => DataType::Int64,
            other => other.clone(),
        };
        Field::new(f.name(), kind, f.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}
