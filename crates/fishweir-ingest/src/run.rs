//! The ingest loop: identify, read on from where the lake stands, commit piece by piece.

mod commit;
mod lines;
mod parser;

use commit::Share;
pub use lines::{Lines, Parsed};

use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;
use fishweir_events::{AgentClasses, NetworkTable, Pseudonyms, RouteRules, Stream};
use fishweir_lake::{Lake, LakeError, Table};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde::Serialize;
use thiserror::Error;

use crate::chunks::{ChunkReader, Limits};
use crate::decode::{BadLine, Decoded, Decoder};
use crate::input::{self, Input, InputError};
use crate::ledger::{HEAD_BYTES, IdentifyError, Identity, Ledger, app};
use crate::mapping::{MappingError, referenced_fields};
use crate::source::{Format, Source, SourceStream};
use crate::tables::{file_table, raw_table, reject_table};
pub(crate) use parser::Parser;

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
    /// Small files of one stream that are read and wait to be committed together.
    waiting: Vec<Share>,
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

impl FileReport {
    fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            status: FileStatus::Read,
            rows: 0,
            accepted: 0,
            duplicates: 0,
            rejected: 0,
            error: None,
        }
    }
}

/// What became of the inputs so far.
#[derive(Default)]
struct Tally {
    files: Vec<FileReport>,
    reasons: std::collections::HashMap<String, u64>,
}

impl Tally {
    fn begin(&mut self, file: &str) -> usize {
        self.files.push(FileReport::new(file));
        self.files.len() - 1
    }

    fn fail(&mut self, at: usize, error: String) {
        self.files[at].status = FileStatus::Failed;
        self.files[at].error = Some(error);
    }

    fn summary(self) -> Summary {
        let sum = |f: fn(&FileReport) -> u64| self.files.iter().map(f).sum();
        let mut reasons: Vec<_> = self.reasons.into_iter().collect();
        reasons.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        reasons.truncate(REASONS_MAX);
        Summary {
            rows: sum(|f| f.rows),
            accepted: sum(|f| f.accepted),
            rejected: sum(|f| f.rejected),
            duplicates: sum(|f| f.duplicates),
            failed_files: self.files.iter().filter(|f| f.status == FileStatus::Failed).count(),
            reasons,
            files: self.files,
        }
    }
}

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
        let mut tally = Tally::default();
        let mut open = Open::default();
        for input in input::expand(patterns) {
            let input = match input {
                Err(e) => {
                    tally.files.push(failed_before_start(patterns, &e));
                    continue;
                }
                Ok(input) => input,
            };
            progress.begin(&input.name(), input.size_bytes());
            let at = tally.begin(&input.name());
            if let Err(e) = self.file(&input, &mut open, &mut tally, progress).await {
                tally.fail(at, explain(&input, &e));
            }
            if !open.waiting.iter().any(|s| s.report == at) {
                progress.end(&tally.files[at]);
            }
            if self.is_full(&open.waiting) {
                self.flush(&mut open, &mut tally, progress).await;
            }
        }
        self.flush(&mut open, &mut tally, progress).await;
        Ok(tally.summary())
    }

    fn is_full(&self, waiting: &[Share]) -> bool {
        let rows: u64 = waiting.iter().map(|s| s.piece.rows).sum();
        rows as usize >= self.shared.config.commit_rows || waiting.len() >= WAITING_MAX
    }

    async fn file(
        &self,
        input: &Input,
        open: &mut Open,
        tally: &mut Tally,
        progress: &dyn Progress,
    ) -> Result<(), FileError> {
        let stream = self.stream_of(input)?;
        let parquet = is_parquet(input);
        if open.waiting.first().is_some_and(|w| w.stream != stream || !parquet) {
            self.flush(open, tally, progress).await;
        }
        let tables = match open.tables.entry(stream) {
            Entry::Occupied(known) => {
                let tables = known.into_mut();
                if open.waiting.is_empty() {
                    tables.raw.refresh().await?;
                }
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
        if !parquet {
            tables.rejects.refresh().await?;
            tables.files.refresh().await?;
            ledger.follow(&tables.files, &self.shared.source.name).await?;
        }
        let report = tally.files.len() - 1;
        let (input, head, stdin_reader) = self.settle(input, ledger)?;
        if head.is_empty() {
            tally.files[report].status = FileStatus::Empty;
            return Ok(());
        }
        let format = self.format_of(&head, stream)?;
        if format == Format::Parquet {
            return self.parquet(&input, stream, open, tally, progress).await;
        }
        let count = Arc::new(AtomicU64::new(0));
        let mut file = OneFile { ingest: self, stream, tables, report, tally, progress, count };
        let identity = match stdin_reader {
            Some(_) => Some(ledger.fresh(&self.shared.source.name, &head)),
            None => {
                let (source, as_new) = (&self.shared.source.name, self.shared.config.as_new);
                ledger.identify(&input, source, &file.tables.raw, as_new).await?
            }
        };
        let Some(identity) = identity else {
            file.mine().status = FileStatus::Empty;
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

    // Twice where the same content waits for its commit: only that tells what is left to read.
    async fn parquet(
        &self,
        input: &Input,
        stream: Stream,
        open: &mut Open,
        tally: &mut Tally,
        progress: &dyn Progress,
    ) -> Result<(), FileError> {
        let report = tally.files.len() - 1;
        while let Some(tables) = open.tables.get_mut(&stream) {
            let count = Arc::new(AtomicU64::new(0));
            let mut file = OneFile { ingest: self, stream, tables, report, tally, progress, count };
            if file.parquet(input, &mut open.waiting).await? {
                break;
            }
            self.flush(open, tally, progress).await;
            if let Some(tables) = open.tables.get_mut(&stream) {
                tables.raw.refresh().await?;
            }
        }
        Ok(())
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
    FileReport { status: FileStatus::Failed, error: Some(text), ..FileReport::new(&name) }
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
    /// Place of its report.
    report: usize,
    tally: &'a mut Tally,
    progress: &'a dyn Progress,
    count: Arc<AtomicU64>,
}

type TextReader = ChunkReader<Box<dyn Read + Send>>;

impl OneFile<'_> {
    fn mine(&mut self) -> &mut FileReport {
        &mut self.tally.files[self.report]
    }

    // Rows of this file as they are committed.
    fn share(&self, piece: Piece, after: u64, identity: &Identity) -> Share {
        Share { report: self.report, stream: self.stream, piece, after, identity: identity.clone() }
    }

    async fn commit(&mut self, piece: Piece, after: u64, identity: &Identity) -> Result<(), FileError> {
        let share = self.share(piece, after, identity);
        self.ingest.commit(self.tables, std::slice::from_ref(&share), self.tally).await?;
        let rows = self.mine().rows;
        self.progress.advance(self.count.load(Ordering::Relaxed), rows);
        Ok(())
    }

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
        self.mine().rows += known;
        self.mine().duplicates += known;
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
                self.mine().rows
            )));
        }
        if !fresh {
            self.mine().status = FileStatus::Unchanged;
        }
        Ok(())
    }

    // Whole commits are made at once; what is left at the end waits for other small files. False, and nothing
    // done, where the same content waits already: only its commit tells whether it is there.
    async fn parquet(&mut self, input: &Input, waiting: &mut Vec<Share>) -> Result<bool, FileError> {
        let Input::File(path) = input else { return Ok(true) };
        let mut hasher = blake3::Hasher::new();
        std::io::copy(&mut File::open(path)?, &mut hasher)?;
        let content = hasher.finalize().to_hex().as_str()[..32].to_owned();
        let file_id = content.get(..12).unwrap_or_default().to_owned();
        let bad =
            |e: parquet::errors::ParquetError| FileError::Other(format!("not a readable Parquet file: {e}"));
        let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path)?).map_err(bad)?;
        if waiting.iter().any(|w| w.identity.file_id == file_id) {
            return Ok(false);
        }
        let committed = self.tables.raw.committed(&app(&file_id)).await?.unwrap_or(0);
        let done = usize::try_from(committed).unwrap_or(0);
        let identity = Identity { file_id, head_bytes: 0, head_hash: content.clone(), done: done as u64 };
        let fields: Vec<(String, DataType)> =
            builder.schema().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect();
        let shared = Arc::clone(&self.ingest.shared);
        let parser = Parser::with_fields(&shared, self.stream, &identity, &fields)?;
        self.mine().rows += done as u64;
        self.mine().duplicates += done as u64;
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
            waiting.push(self.share(pending, at, &identity));
        }
        if !fresh {
            self.mine().status = FileStatus::Unchanged;
        }
        Ok(true)
    }
}

const CHUNKS_AHEAD: usize = 4;
/// Small files that are committed together at most.
const WAITING_MAX: usize = 256;
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
