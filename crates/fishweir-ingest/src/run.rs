//! The ingest loop: identify, read on from where the lake stands, commit piece by piece.

mod lines;
mod parser;

pub use lines::{Lines, Parsed};

use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::array::{Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use fishweir_events::{AgentClasses, NetworkTable, Pseudonyms, RouteRules, Stream};
use fishweir_lake::{Append, Commit, Lake, LakeError, Table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use thiserror::Error;

use crate::chunks::{ChunkReader, Limits};
use crate::decode::{BadLine, Decoded, Decoder};
use crate::dedup::drop_known;
use crate::input::{self, Input, InputError};
use crate::ledger::{HEAD_BYTES, IdentifyError, Identity, Ledger, app};
use crate::mapping::{MappingError, referenced_fields};
use crate::source::{Format, Source, SourceStream};
use crate::tables::{file_table, raw_table, reject_table};
pub(crate) use parser::Parser;
use parser::generalise;

/// Limits and rules of a run.
#[derive(Clone, Debug)]
pub struct IngestConfig {
    /// How files are read.
    pub source: Source,
    /// Earliest accepted event time, microseconds.
    pub time_min_us: i64,
    /// Latest accepted event time, microseconds.
    pub time_max_us: i64,
    /// Bytes of text parsed at a time.
    pub chunk_bytes: usize,
    /// Longest line held; longer ones are refused.
    pub line_bytes: usize,
    /// Rows per commit.
    pub commit_rows: usize,
    /// Parser threads.
    pub threads: usize,
    /// Takes every input for a new file.
    pub as_new: bool,
    /// Folder for standard input that must be read twice.
    pub spool_dir: PathBuf,
}

/// A run that cannot start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum IngestError {
    /// The lake cannot be opened.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The source cannot be used.
    #[error(transparent)]
    Mapping(#[from] MappingError),
}

/// How a file ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStatus {
    /// Read to its end.
    Read,
    /// Nothing new in it.
    Unchanged,
    /// Holds no byte.
    Empty,
    /// Could not be read, or not to its end.
    Failed,
}

/// What became of one input.
#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    /// Name as given.
    pub file: String,
    /// How it ended.
    pub status: FileStatus,
    /// Input rows seen; `accepted + duplicates + rejected`.
    pub rows: u64,
    /// Rows added to the lake.
    pub accepted: u64,
    /// Rows the lake already had.
    pub duplicates: u64,
    /// Rows refused.
    pub rejected: u64,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What became of all inputs.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Input rows; `accepted + duplicates + rejected`.
    pub rows: u64,
    /// Rows added to the lake.
    pub accepted: u64,
    /// Rows refused, listed in table `rejects`.
    pub rejected: u64,
    /// Rows the lake already had.
    pub duplicates: u64,
    /// Inputs that failed.
    pub failed_files: usize,
    /// Refusals by reason, most frequent first.
    pub reasons: Vec<(String, u64)>,
    /// One report per input.
    pub files: Vec<FileReport>,
}

/// Hears how far the run is.
pub trait Progress: Send + Sync {
    /// An input begins.
    fn begin(&self, file: &str, size_bytes: u64);
    /// Bytes read from storage and rows committed so far, of this input.
    fn advance(&self, bytes: u64, rows: u64);
    /// The input ended.
    fn end(&self, report: &FileReport);
}

/// Everything a run needs.
pub struct Ingest {
    lake: Lake,
    shared: Arc<Shared>,
}

/// What every parser of an ingest shares.
pub(crate) struct Shared {
    config: IngestConfig,
    source: Arc<Source>,
    pseudonyms: Pseudonyms,
    routes: RouteRules,
    agents: AgentClasses,
    networks: NetworkTable,
    now_us: Box<dyn Fn() -> i64 + Send + Sync>,
}

struct Tables {
    raw: Table,
    rejects: Table,
    files: Table,
}

/// Tables stay open from one input to the next: opening one reads its whole log.
#[derive(Default)]
struct Open {
    tables: std::collections::BTreeMap<Stream, Tables>,
    ledger: Ledger,
}

/// Rows ready to be committed.
#[derive(Default)]
pub(crate) struct Piece {
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) rejects: Vec<BadLine>,
    pub(crate) rows: u64,
    pub(crate) own_ids: bool,
    end: u64,
    prefix_hash: String,
}

impl Shared {
    pub(crate) fn source(&self) -> &Arc<Source> {
        &self.source
    }
}

#[derive(Debug, Error)]
enum FileError {
    #[error("{0}")]
    Lake(#[from] LakeError),
    #[error("{0}")]
    Identify(#[from] IdentifyError),
    #[error("{0}")]
    Mapping(#[from] MappingError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Other(String),
}

const REASONS_MAX: usize = 20;

impl Ingest {
    /// Returns a run over the given lake; `now_us` tells the time that rows are stamped with.
    #[must_use]
    pub fn new(
        lake: Lake,
        config: IngestConfig,
        pseudonyms: Pseudonyms,
        routes: RouteRules,
        networks: NetworkTable,
        now_us: Box<dyn Fn() -> i64 + Send + Sync>,
    ) -> Self {
        let source = Arc::new(config.source.clone());
        let agents = AgentClasses::default();
        let shared = Arc::new(Shared { config, source, pseudonyms, routes, agents, networks, now_us });
        Self { lake, shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Reads every input that the patterns name and returns what became of each.
    ///
    /// One bad file or row never stops the others.
    ///
    /// # Errors
    /// Only what makes the whole run impossible: a lake that cannot be opened.
    pub async fn run(&self, patterns: &[String], progress: &dyn Progress) -> Result<Summary, IngestError> {
        let mut summary = Summary::default();
        let mut reasons: std::collections::HashMap<String, u64> = std::collections::HashMap::new();
        let mut open = Open::default();
        for input in input::expand(patterns) {
            let report = match input {
                Err(e) => failed_before_start(patterns, &e),
                Ok(input) => {
                    progress.begin(&input.name(), input.size_bytes());
                    let mut report = FileReport {
                        file: input.name(),
                        status: FileStatus::Read,
                        rows: 0,
                        accepted: 0,
                        duplicates: 0,
                        rejected: 0,
                        error: None,
                    };
                    if let Err(e) = self.file(&input, &mut open, &mut report, progress, &mut reasons).await {
                        report.status = FileStatus::Failed;
                        report.error = Some(explain(&input, &e));
                    }
                    report
                }
            };
            progress.end(&report);
            summary.rows += report.rows;
            summary.accepted += report.accepted;
            summary.rejected += report.rejected;
            summary.duplicates += report.duplicates;
            summary.failed_files += usize::from(report.status == FileStatus::Failed);
            summary.files.push(report);
        }
        let mut reasons: Vec<_> = reasons.into_iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        reasons.truncate(REASONS_MAX);
        summary.reasons = reasons;
        Ok(summary)
    }

    async fn file(
        &self,
        input: &Input,
        open: &mut Open,
        report: &mut FileReport,
        progress: &dyn Progress,
        reasons: &mut std::collections::HashMap<String, u64>,
    ) -> Result<(), FileError> {
        let stream = self.stream_of(input)?;
        let tables = match open.tables.entry(stream) {
            Entry::Occupied(known) => {
                let tables = known.into_mut();
                tables.raw.refresh().await?;
                tables
            }
            Entry::Vacant(new) => new.insert(Tables {
                raw: self.lake.table(&raw_table(stream)).await?,
                rejects: self.lake.table(&reject_table()).await?,
                files: self.lake.table(&file_table()).await?,
            }),
        };
        let ledger = &mut open.ledger;
        // Parquet files are known by their whole content; only text is looked up in the ledger.
        if !is_parquet(input) {
            tables.rejects.refresh().await?;
            tables.files.refresh().await?;
            ledger.follow(&tables.files, &self.shared.source.name).await?;
        }
        let (input, head, stdin_reader) = self.settle(input, ledger)?;
        if head.is_empty() {
            report.status = FileStatus::Empty;
            return Ok(());
        }
        let format = self.format_of(&head, stream)?;
        let mut file = OneFile {
            ingest: self,
            stream,
            tables,
            report,
            progress,
            reasons,
            count: Arc::new(AtomicU64::new(0)),
        };
        if format == Format::Parquet {
            return file.parquet(&input).await;
        }
        let identity = match stdin_reader {
            Some(_) => Some(ledger.fresh(&self.shared.source.name, &head)),
            None => {
                let (source, as_new) = (&self.shared.source.name, self.shared.config.as_new);
                ledger.identify(&input, source, &file.tables.raw, as_new).await?
            }
        };
        let Some(identity) = identity else {
            file.report.status = FileStatus::Empty;
            return Ok(());
        };
        let quote = (format == Format::Csv && self.shared.source.quote).then_some(b'"');
        let config = &self.shared.config;
        let limits = Limits { chunk_bytes: config.chunk_bytes, line_bytes: config.line_bytes, quote };
        let bytes = match stdin_reader {
            Some(reader) => reader,
            None => input::open(&input, Arc::clone(&file.count))?,
        };
        file.text(ChunkReader::new(bytes, limits), format, identity).await
    }

    fn stream_of(&self, input: &Input) -> Result<Stream, FileError> {
        match self.shared.source.stream {
            SourceStream::Fixed(stream) => Ok(stream),
            SourceStream::FromPath => {
                let name = input.name();
                let parts = name.rsplit(['/', '\\']).take(4);
                // `_` stands inside names of streams, so `.`, `-` and `=` cut first.
                let words: Vec<&str> = parts.flat_map(|p| p.split(['.', '-', '='])).collect();
                let parts = words.iter().flat_map(|w| w.split('_'));
                let words: Vec<&str> = words.iter().copied().chain(parts).collect();
                let found = Stream::ALL.into_iter().find(|s| words.contains(&s.name()));
                if found.is_none() && *input == Input::Stdin {
                    return Ok(Stream::Requests);
                }
                found.ok_or_else(|| {
                    FileError::Other(format!(
                        "cannot tell the stream: name the file or a folder above it after one of {}",
                        Stream::names()
                    ))
                })
            }
        }
    }

    fn format_of(&self, head: &[u8], stream: Stream) -> Result<Format, FileError> {
        let parquet = head.starts_with(b"PAR1");
        match (self.shared.source.format, parquet) {
            (Format::Auto | Format::Parquet, true) => Ok(Format::Parquet),
            (Format::Parquet, false) => {
                Err(FileError::Other("is no Parquet file: it does not begin with `PAR1`".to_owned()))
            }
            (Format::Auto, false) => Ok(Format::Ndjson),
            (_, true) => Err(FileError::Other(format!(
                "is a Parquet file, but source `{}` for stream `{stream}` reads text",
                self.shared.source.name
            ))),
            (other, false) => Ok(other),
        }
    }

    // Standard input cannot be read twice: it is spooled when it has to be compared with a known
    // file or is Parquet, and streamed otherwise.
    fn settle(
        &self,
        input: &Input,
        ledger: &Ledger,
    ) -> Result<(Input, Vec<u8>, Option<Box<dyn Read + Send>>), FileError> {
        let mut reader = input::open(input, Arc::new(AtomicU64::new(0)))?;
        let mut head = Vec::new();
        (&mut reader).take(HEAD_BYTES as u64).read_to_end(&mut head)?;
        if *input != Input::Stdin || head.is_empty() {
            return Ok((input.clone(), head, None));
        }
        let whole = std::io::Cursor::new(head.clone()).chain(reader);
        if !head.starts_with(b"PAR1") && (self.shared.config.as_new || !ledger.knows_head(&head)) {
            return Ok((input.clone(), head, Some(Box::new(whole))));
        }
        std::fs::create_dir_all(&self.shared.config.spool_dir)?;
        let path = self.shared.config.spool_dir.join(format!("stdin-{}", std::process::id()));
        let mut file = File::create(&path)?;
        std::io::copy(&mut { whole }, &mut file)?;
        file.flush()?;
        Ok((Input::File(path), head, None))
    }
}

fn is_parquet(input: &Input) -> bool {
    let Input::File(path) = input else { return false };
    let mut head = [0; 4];
    File::open(path).and_then(|mut f| f.read_exact(&mut head)).is_ok() && head == *b"PAR1"
}

fn failed_before_start(patterns: &[String], e: &InputError) -> FileReport {
    let text = e.to_string();
    let name = patterns.iter().find(|p| text.contains(p.as_str())).cloned().unwrap_or_default();
    FileReport {
        file: name,
        status: FileStatus::Failed,
        rows: 0,
        accepted: 0,
        duplicates: 0,
        rejected: 0,
        error: Some(text),
    }
}

fn explain(input: &Input, e: &FileError) -> String {
    match (input, e) {
        (Input::File(p), FileError::Io(io)) => InputError::io(p, io).to_string(),
        (Input::File(p), FileError::Identify(IdentifyError::Io(io))) => InputError::io(p, io).to_string(),
        _ => format!("`{}`: {e}", input.name()),
    }
}

struct OneFile<'a> {
    ingest: &'a Ingest,
    stream: Stream,
    tables: &'a mut Tables,
    report: &'a mut FileReport,
    progress: &'a dyn Progress,
    reasons: &'a mut std::collections::HashMap<String, u64>,
    count: Arc<AtomicU64>,
}

type TextReader = ChunkReader<Box<dyn Read + Send>>;

impl OneFile<'_> {
    async fn text(
        &mut self,
        mut reader: TextReader,
        format: Format,
        identity: Identity,
    ) -> Result<(), FileError> {
        let shared = Arc::clone(&self.ingest.shared);
        let mut decoder =
            Decoder::new(Arc::clone(&shared.source), format, referenced_fields(&shared.source, self.stream));
        decoder.read_header(reader.peek(1 << 16));
        let parser = Arc::new(Parser::new(&shared, self.stream, decoder, format, &identity)?);
        let known = reader.skip_to(identity.done);
        self.report.rows += known;
        self.report.duplicates += known;
        let mut at = identity.done;
        let mut pending = Piece { end: at, ..Piece::default() };
        let mut fresh = false;
        // Parsing runs ahead of committing by at most a few chunks, which bounds memory.
        let (send, mut receive) = tokio::sync::mpsc::channel::<Piece>(CHUNKS_AHEAD);
        let threads = shared.config.threads;
        let parsing = tokio::task::spawn_blocking(move || {
            loop {
                let before = reader.hasher();
                let Some(chunk) = reader.next_chunk() else { return reader.take_failure() };
                let mut piece = parser.parse(&chunk, threads);
                piece.prefix_hash = chunk.hash_at(piece.end, before, &reader);
                if send.blocking_send(piece).is_err() {
                    return None;
                }
            }
        });
        while let Some(piece) = receive.recv().await {
            fresh = true;
            pending.join(piece);
            if pending.rows as usize >= shared.config.commit_rows {
                let full = std::mem::take(&mut pending);
                let end = full.end;
                self.commit(full, at, &identity).await?;
                at = end;
            }
        }
        let failure = parsing.await.map_err(|e| FileError::Other(e.to_string()))?;
        if pending.rows > 0 {
            self.commit(pending, at, &identity).await?;
        }
        if let Some(e) = failure {
            return Err(FileError::Other(format!(
                "the file is damaged or cut off ({e}); {} rows before the damage were taken",
                self.report.rows
            )));
        }
        if !fresh {
            self.report.status = FileStatus::Unchanged;
        }
        Ok(())
    }

    async fn parquet(&mut self, input: &Input) -> Result<(), FileError> {
        let Input::File(path) = input else { return Ok(()) };
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut File::open(path)?, &mut hasher)?;
        let content = hasher.finalize().to_hex().as_str()[..32].to_owned();
        let file_id = content.get(..12).unwrap_or_default().to_owned();
        let bad =
            |e: parquet::errors::ParquetError| FileError::Other(format!("not a readable Parquet file: {e}"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(bad)?;
        let committed = self.tables.raw.committed(&app(&file_id)).await?.unwrap_or(0);
        let done = usize::try_from(committed).unwrap_or(0);
        let identity = Identity { file_id, head_bytes: 0, head_hash: content.clone(), done: done as u64 };
        let fields: Vec<(String, DataType)> =
            builder.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
        let shared = Arc::clone(&self.ingest.shared);
        let parser = Parser::with_fields(&shared, self.stream, &identity, &fields)?;
        self.report.rows += done as u64;
        self.report.duplicates += done as u64;
        let rows = builder.with_batch_size(PARQUET_ROWS).with_offset(done).build().map_err(bad)?;
        let mut at = identity.done;
        let mut pending = Piece { end: at, ..Piece::default() };
        let mut fresh = false;
        for batch in rows {
            let batch = batch.map_err(|e| FileError::Other(format!("not a readable Parquet file: {e}")))?;
            fresh = true;
            let first = pending.end;
            let end = first + batch.num_rows() as u64;
            let numbers: Vec<u64> = (first..end).collect();
            let schema = batch.schema();
            let fields = schema.fields().iter().zip(batch.columns());
            let decoded = Decoded {
                fields: fields.map(|(f, a)| (f.name().clone(), Arc::clone(a))).collect(),
                lines: numbers.iter().map(|n| n + 1).collect(),
                offsets: numbers,
                rows: batch.num_rows() as u64,
                ..Decoded::default()
            };
            let mut piece = parser.rows(decoded);
            piece.end = end;
            piece.prefix_hash.clone_from(&content);
            pending.join(piece);
            if pending.rows as usize >= shared.config.commit_rows {
                let full = std::mem::replace(&mut pending, Piece { end, ..Piece::default() });
                self.commit(full, at, &identity).await?;
                at = end;
            }
        }
        if pending.rows > 0 {
            self.commit(pending, at, &identity).await?;
        }
        if !fresh {
            self.report.status = FileStatus::Unchanged;
        }
        Ok(())
    }

    // Order matters: refused rows, then the ledger, then the rows themselves. Only the last step
    // moves the position from which a later run reads on, so a crash between repeats the first
    // two, which are themselves safe to repeat.
    async fn commit(&mut self, piece: Piece, after: u64, identity: &Identity) -> Result<(), FileError> {
        let now_us = (self.ingest.shared.now_us)();
        let name = app(&identity.file_id);
        let step = |after: u64, version: u64| Commit {
            app: name.clone(),
            after: i64::try_from(after).unwrap_or(i64::MAX),
            version: i64::try_from(version).unwrap_or(i64::MAX),
        };
        self.commit_rejects(&piece, now_us, identity).await?;
        let mut dropped;
        loop {
            let mut steps = Vec::new();
            let mut batches = piece.batches.clone();
            dropped = 0;
            if piece.own_ids {
                let ids = format!("ids/{}", self.ingest.shared.source.name);
                let at = self.tables.raw.committed(&ids).await?.unwrap_or(0);
                (batches, dropped) =
                    drop_known(&self.tables.raw, &self.ingest.shared.source.name, batches).await?;
                steps.push(Commit { app: ids, after: at, version: at + 1 });
            }
            let accepted: u64 = batches.iter().map(|b| b.num_rows() as u64).sum();
            if piece.end > after {
                steps.insert(0, step(after, piece.end));
                self.commit_ledger(&piece, after, accepted, dropped, now_us, identity).await?;
            }
            if steps.is_empty() || (piece.end == after && accepted == 0) {
                break;
            }
            match self.tables.raw.append(&batches, &steps).await? {
                Append::Added => {
                    self.report.accepted += accepted;
                    break;
                }
                Append::AlreadyThere => {
                    dropped += accepted;
                    break;
                }
                // Another process stored rows of this source: look again for known ids.
                Append::Moved { index: 1, .. } => self.tables.raw.refresh().await?,
                Append::Moved { .. } => {
                    return Err(FileError::Other(
                        "another process is reading the same file; run again to take what it left".to_owned(),
                    ));
                }
            }
        }
        self.report.rows += piece.rows;
        self.report.duplicates += dropped;
        self.report.rejected += piece.rejects.len() as u64;
        for bad in &piece.rejects {
            *self.reasons.entry(generalise(&bad.reason)).or_default() += 1;
        }
        self.progress.advance(self.count.load(Ordering::Relaxed), self.report.rows);
        Ok(())
    }

    async fn commit_rejects(
        &mut self,
        piece: &Piece,
        now_us: i64,
        identity: &Identity,
    ) -> Result<(), FileError> {
        if piece.rejects.is_empty() {
            return Ok(());
        }
        let name = app(&identity.file_id);
        for _ in 0..REJECT_TRIES {
            let at = self.tables.rejects.committed(&name).await?.unwrap_or(0);
            let from = u64::try_from(at).unwrap_or(0);
            let new: Vec<&BadLine> = piece.rejects.iter().filter(|b| b.offset >= from).collect();
            let Some(last) = new.iter().map(|b| b.offset + 1).max() else { return Ok(()) };
            let n = new.len();
            let text = |f: &dyn Fn(&BadLine) -> String| {
                Arc::new(new.iter().map(|b| Some(f(b))).collect::<StringViewArray>())
            };
            let same = |s: &str| Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(s, n)));
            let int = |f: &dyn Fn(&BadLine) -> u64| {
                Arc::new(new.iter().map(|b| i64::try_from(f(b)).ok()).collect::<Int64Array>())
            };
            let columns: Vec<arrow::array::ArrayRef> = vec![
                Arc::new(TimestampMicrosecondArray::from(vec![now_us; n]).with_timezone("UTC")),
                same(&self.ingest.shared.source.name),
                same(self.stream.name()),
                same(&self.report.file),
                same(&identity.file_id),
                int(&|b| b.line),
                int(&|b| b.offset),
                text(&|b| b.reason.clone()),
                text(&|b| b.excerpt.clone()),
            ];
            let batch = RecordBatch::try_new(reject_table().schema, columns)
                .map_err(|e| FileError::Other(e.to_string()))?;
            let version = i64::try_from(last).unwrap_or(i64::MAX).max(at + 1);
            let step = Commit { app: name.clone(), after: at, version };
            match self.tables.rejects.append(&[batch], &[step]).await? {
                Append::Added | Append::AlreadyThere => return Ok(()),
                Append::Moved { .. } => self.tables.rejects.refresh().await?,
            }
        }
        Err(FileError::Other("another process keeps writing rejects of the same file".to_owned()))
    }

    async fn commit_ledger(
        &mut self,
        piece: &Piece,
        after: u64,
        accepted: u64,
        duplicates: u64,
        now_us: i64,
        identity: &Identity,
    ) -> Result<(), FileError> {
        let text = |s: &str| Arc::new(StringViewArray::from_iter_values([s])) as arrow::array::ArrayRef;
        let int = |n: u64| {
            Arc::new(Int64Array::from(vec![i64::try_from(n).unwrap_or(i64::MAX)])) as arrow::array::ArrayRef
        };
        let columns = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![now_us]).with_timezone("UTC")) as _,
            text(&self.ingest.shared.source.name),
            text(self.stream.name()),
            text(&self.report.file),
            text(&identity.file_id),
            int(identity.head_bytes as u64),
            text(&identity.head_hash),
            int(after),
            int(piece.end),
            text(&piece.prefix_hash),
            int(piece.rows),
            int(accepted),
            int(duplicates),
            int(piece.rejects.len() as u64),
        ];
        let batch = RecordBatch::try_new(file_table().schema, columns)
            .map_err(|e| FileError::Other(e.to_string()))?;
        self.tables.files.append(&[batch], &[]).await?;
        Ok(())
    }
}

const CHUNKS_AHEAD: usize = 4;
const REJECT_TRIES: usize = 20;
const PARQUET_ROWS: usize = 65_536;

impl Piece {
    fn join(&mut self, next: Self) {
        self.batches.extend(next.batches);
        self.rejects.extend(next.rejects);
        self.rows += next.rows;
        self.own_ids |= next.own_ids;
        self.end = self.end.max(next.end);
        self.prefix_hash = next.prefix_hash;
    }
}
