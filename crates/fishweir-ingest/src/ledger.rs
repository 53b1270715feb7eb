//! What was read of which file, and how a file is recognised by its content.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use fishweir_lake::{LakeError, Table};

use crate::chunks::{ChunkReader, Limits};
use crate::input::{self, Input};

/// Bytes at the start of a file that make its identity.
pub(crate) const HEAD_BYTES: usize = 4096;

#[derive(Clone, Debug, Default)]
struct Known {
    name: String,
    head_bytes: usize,
    head_hash: String,
    /// End of a committed piece to the hash of everything before it.
    marks: HashMap<u64, String>,
}

/// All files of one source that were ever read.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    files: HashMap<String, Known>,
    /// Data files of the table that were taken in already.
    read: HashSet<String>,
}

/// Which file an input is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) file_id: String,
    pub(crate) head_bytes: usize,
    pub(crate) head_hash: String,
    /// Position up to which the lake already has it.
    pub(crate) done: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentifyError {
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Lake(#[from] LakeError),
    #[error(
        "starts like `{name}`, of which {done} bytes are already in the lake, but is shorter; it looks like an older copy, so nothing was read. hint: if it is another file, pass --as-new"
    )]
    OlderCopy { name: String, done: u64 },
}

impl Ledger {
    /// Takes in what the table holds beyond what was taken in before.
    pub(crate) async fn follow(&mut self, table: &Table, source: &str) -> Result<(), LakeError> {
        for file in table.files()? {
            if self.read.contains(&file.path) {
                continue;
            }
            for batch in table.read_file(&file).await? {
                self.take(&batch, source);
            }
            self.read.insert(file.path);
        }
        Ok(())
    }

    fn take(&mut self, batch: &RecordBatch, source: &str) {
        let text = |name: &str| batch.column_by_name(name).map(|c| c.as_string::<i32>());
        let int = |name: &str| batch.column_by_name(name).map(|c| c.as_primitive::<Int64Type>());
        let columns = (
            text("source"),
            text("file"),
            text("file_id"),
            text("head_hash"),
            text("prefix_hash"),
            int("head_bytes"),
            int("end_offset"),
        );
        let (Some(src), Some(file), Some(id), Some(head), Some(prefix), Some(len), Some(end)) = columns
        else {
            return;
        };
        for row in (0..batch.num_rows()).filter(|r| src.is_valid(*r) && src.value(*r) == source) {
            let known = self.files.entry(id.value(row).to_owned()).or_default();
            file.value(row).clone_into(&mut known.name);
            known.head_bytes = usize::try_from(len.value(row)).unwrap_or(0);
            head.value(row).clone_into(&mut known.head_hash);
            let end = u64::try_from(end.value(row)).unwrap_or(0);
            known.marks.insert(end, prefix.value(row).to_owned());
        }
    }

    /// Returns who the input is, given what the raw table has of each known file.
    pub(crate) async fn identify(
        &self,
        input: &Input,
        source: &str,
        raw: &Table,
        as_new: bool,
    ) -> Result<Option<Identity>, IdentifyError> {
        let mut reader = ChunkReader::new(input::open(input, Arc::new(AtomicU64::new(0)))?, PLAIN);
        let head = reader.peek(HEAD_BYTES).to_vec();
        if head.is_empty() {
            return match reader.take_failure() {
                Some(e) => Err(e.into()),
                None => Ok(None),
            };
        }
        let mut candidates = Vec::new();
        for (id, known) in &self.files {
            let same = known.head_bytes > 0
                && head.get(..known.head_bytes).is_some_and(|h| hash(h) == known.head_hash);
            if same {
                let done = raw.committed(&app(id)).await?.unwrap_or(0);
                candidates.push((u64::try_from(done).unwrap_or(0), id, known));
            }
        }
        candidates.sort();
        let mut found = None;
        let mut older = None;
        let mut lengthy = ChunkReader::new(input::open(input, Arc::new(AtomicU64::new(0)))?, PLAIN);
        for (done, id, known) in candidates.iter().filter(|_| !as_new) {
            lengthy.skip_to(*done);
            if lengthy.offset() < *done {
                older = Some((known.name.clone(), *done));
            } else if *done == 0 || known.marks.get(done).is_some_and(|h| *h == lengthy.hash()) {
                found = Some(Identity {
                    file_id: (*id).clone(),
                    head_bytes: known.head_bytes,
                    head_hash: known.head_hash.clone(),
                    done: *done,
                });
            }
        }
        match (found, older) {
            (Some(i), _) => Ok(Some(i)),
            (None, Some((name, done))) => Err(IdentifyError::OlderCopy { name, done }),
            (None, None) => Ok(Some(self.fresh(source, &head))),
        }
    }

    pub(crate) fn knows_head(&self, head: &[u8]) -> bool {
        self.files
            .values()
            .any(|k| k.head_bytes > 0 && head.get(..k.head_bytes).is_some_and(|h| hash(h) == k.head_hash))
    }

    /// Returns a new identity for content that starts with `head`.
    pub(crate) fn fresh(&self, source: &str, head: &[u8]) -> Identity {
        let mut n = 0u32;
        loop {
            let mut hasher = blake3::Hasher::new();
            hasher.update(source.as_bytes()).update(&n.to_le_bytes()).update(head);
            let file_id = hasher.finalize().to_hex().as_str()[..12].to_owned();
            if !self.files.contains_key(&file_id) {
                return Identity { file_id, head_bytes: head.len(), head_hash: hash(head), done: 0 };
            }
            n += 1;
        }
    }
}

impl PartialEq for Known {
    fn eq(&self, other: &Self) -> bool {
        self.head_hash == other.head_hash
    }
}
impl Eq for Known {}
impl PartialOrd for Known {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Known {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.head_hash.cmp(&other.head_hash)
    }
}

const PLAIN: Limits = Limits { chunk_bytes: 1 << 20, line_bytes: usize::MAX, quote: None };

/// Returns the writer name of a file.
pub(crate) fn app(file_id: &str) -> String {
    format!("file/{file_id}")
}

pub(crate) fn hash(bytes: &[u8]) -> String {
    blake3::hash(bytes).to_hex().as_str()[..32].to_owned()
}
