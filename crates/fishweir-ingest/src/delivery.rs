//! Rows that come in batches instead of files: parsed at the door, committed in numbered groups.
//!
//! The caller keeps what it acknowledged in numbered *groups* until [`Delivery::commit`] returned.
//! Each table remembers the last number it holds, so that a group delivered again after a crash adds
//! nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use fishweir_events::Stream;
use fishweir_lake::{Append, Commit, Lake, LakeError, Table};
use serde::{Deserialize, Serialize};

use crate::chunks::{Chunk, count_lines};
use crate::decode::Decoder;
use crate::dedup::drop_known;
use crate::ledger::Identity;
use crate::mapping::{MappingError, referenced_fields};
use crate::run::{Ingest, Parser};
use crate::tables::{file_table, raw_table, reject_table};

/// One row that was refused at the door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Line of the batch, from 1.
    pub line: u64,
    /// First byte of the line in the batch.
    pub offset: u64,
    /// Why.
    pub reason: String,
    /// The row with digits and long tokens blanked.
    pub excerpt: String,
}

/// What a batch of lines was.
#[derive(Debug, Default)]
pub struct Taken {
    /// Canonical rows, in order; ids are pseudonyms already.
    pub batches: Vec<RecordBatch>,
    /// Refused rows.
    pub refused: Vec<Refused>,
    /// Rows; accepted and refused.
    pub rows: u64,
    /// Whether the rows brought event ids of their own.
    pub own_ids: bool,
}

/// Parses batches of lines of one stream; can be shared between threads.
pub struct Door {
    parser: Parser,
}

impl Door {
    /// Returns the door of a stream with the source, pseudonyms, routes and networks of an ingest.
    ///
    /// # Errors
    /// A mapping that cannot be compiled.
    pub fn new(ingest: &Ingest, stream: Stream) -> Result<Self, MappingError> {
        let shared = ingest.shared();
        let format = shared.source().format;
        let wanted = referenced_fields(shared.source(), stream);
        let decoder = Decoder::new(Arc::clone(shared.source()), format, wanted);
        let identity =
            Identity { file_id: "door".to_owned(), head_bytes: 0, head_hash: String::new(), done: 0 };
        Ok(Self { parser: Parser::new(shared, stream, decoder, format, &identity)? })
    }

    /// Returns the rows of whole lines. Rows without an event id get one made of `batch_id` and their
    /// place, so that the same batch gives the same ids.
    #[must_use]
    pub fn take(&self, batch_id: &str, bytes: Vec<u8>) -> Taken {
        let rows = count_lines(&bytes);
        let chunk = Chunk { bytes, offset: 0, line: 1, oversize: Vec::new(), terminated: true };
        let piece = self.parser.part_of(&chunk, batch_id);
        let refused = piece.rejects.into_iter().map(|r| Refused {
            line: r.line,
            offset: r.offset,
            reason: r.reason,
            excerpt: r.excerpt,
        });
        let refused: Vec<Refused> = refused.collect();
        debug_assert!(piece.rows <= rows, "blank lines are no rows");
        Taken { batches: piece.batches, refused, rows: piece.rows, own_ids: piece.own_ids }
    }
}

/// Rows of one stream that are committed together.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Who delivers.
    pub writer: &'a str,
    /// Number of the group; the writer's numbers grow.
    pub number: i64,
    /// Stream.
    pub stream: Stream,
    /// Canonical rows.
    pub batches: &'a [RecordBatch],
    /// Whether rows brought event ids of their own.
    pub own_ids: bool,
    /// Refused rows, each with the name of the batch it came in.
    pub refused: &'a [(String, Refused)],
}

/// What a committed group came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    /// Rows that are in the stream's table now because of this call.
    pub accepted: u64,
    /// Rows that the table already had.
    pub duplicates: u64,
}

/// Commits groups of canonical rows, each once.
pub struct Delivery {
    lake: Lake,
    source: String,
    raw: BTreeMap<Stream, Table>,
    rejects: Option<Table>,
    files: Option<Table>,
}

impl Delivery {
    /// Returns a delivery into a lake under the name of a source.
    #[must_use]
    pub fn new(lake: Lake, source: &str) -> Self {
        Self { lake, source: source.to_owned(), raw: BTreeMap::new(), rejects: None, files: None }
    }

    /// Commits a group to its stream; a group that is there already changes nothing.
    ///
    /// Numbers of a writer grow. Rows whose own event id the table has are left out. As with files, refused
    /// rows go first, then the line in `ingest_files`, then the rows: only the last step says that the group
    /// is done, and the others are safe to repeat.
    ///
    /// # Errors
    /// A lake that cannot be written; the group can be delivered again.
    pub async fn commit(&mut self, group: &Group<'_>, now_us: i64) -> Result<Delivered, LakeError> {
        let Group { writer, number, stream, .. } = *group;
        self.refuse(group, now_us).await?;
        if let std::collections::btree_map::Entry::Vacant(e) = self.raw.entry(stream) {
            e.insert(self.lake.table(&raw_table(stream)).await?);
        }
        let ids = format!("ids/{}", self.source);
        loop {
            let Some(table) = self.raw.get_mut(&stream) else { return Ok(Delivered::default()) };
            table.refresh().await?;
            let at = table.committed(writer).await?.unwrap_or(0);
            let whole: u64 = group.batches.iter().map(|b| b.num_rows() as u64).sum();
            if at >= number {
                return Ok(Delivered { accepted: 0, duplicates: whole });
            }
            let mut steps = vec![Commit { app: writer.to_owned(), after: at, version: number }];
            let (mut kept, mut duplicates) = (group.batches.to_vec(), 0);
            if group.own_ids {
                let stand = table.committed(&ids).await?.unwrap_or(0);
                (kept, duplicates) = drop_known(table, &self.source, kept).await?;
                steps.push(Commit { app: ids.clone(), after: stand, version: stand + 1 });
            }
            self.enter(group, Delivered { accepted: whole - duplicates, duplicates }, now_us).await?;
            let Some(table) = self.raw.get_mut(&stream) else { return Ok(Delivered::default()) };
            match table.append(&kept, &steps).await? {
                Append::Added => return Ok(Delivered { accepted: whole - duplicates, duplicates }),
                Append::AlreadyThere => return Ok(Delivered { accepted: 0, duplicates: whole }),
                // Somebody else stored rows of this source: look again for known ids.
                Append::Moved { .. } => {}
            }
        }
    }

    async fn refuse(&mut self, group: &Group<'_>, now_us: i64) -> Result<(), LakeError> {
        let Group { writer, number, stream, refused, .. } = *group;
        if refused.is_empty() {
            return Ok(());
        }
        if self.rejects.is_none() {
            self.rejects = Some(self.lake.table(&reject_table()).await?);
        }
        let Some(table) = self.rejects.as_mut() else { return Ok(()) };
        let n = refused.len();
        let text = |f: &dyn Fn(&(String, Refused)) -> String| -> ArrayRef {
            Arc::new(refused.iter().map(|r| Some(f(r))).collect::<StringViewArray>())
        };
        let int = |f: &dyn Fn(&Refused) -> u64| -> ArrayRef {
            Arc::new(refused.iter().map(|r| i64::try_from(f(&r.1)).ok()).collect::<Int64Array>())
        };
        let columns = vec![
            times(now_us, n),
            text(&|_| self.source.clone()),
            text(&|_| stream.name().to_owned()),
            text(&|r| r.0.clone()),
            text(&|r| r.0.clone()),
            int(&|r| r.line),
            int(&|r| r.offset),
            text(&|r| r.1.reason.clone()),
            text(&|r| r.1.excerpt.clone()),
        ];
        let batch = RecordBatch::try_new(reject_table().schema, columns)
            .map_err(|e| LakeError::Rows { table: table.name().to_owned(), cause: e.to_string() })?;
        once(table, &format!("{writer}/{stream}"), number, &batch).await
    }

    async fn enter(&mut self, group: &Group<'_>, came: Delivered, now_us: i64) -> Result<(), LakeError> {
        let Group { writer, number, stream, .. } = *group;
        let refused = group.refused.len() as u64;
        if self.files.is_none() {
            self.files = Some(self.lake.table(&file_table()).await?);
        }
        let Some(table) = self.files.as_mut() else { return Ok(()) };
        let text = |s: &str| -> ArrayRef { Arc::new(StringViewArray::from_iter_values([s])) };
        let int =
            |n: u64| -> ArrayRef { Arc::new(Int64Array::from(vec![i64::try_from(n).unwrap_or(i64::MAX)])) };
        let rows = came.accepted + came.duplicates + refused;
        let at = u64::try_from(number).unwrap_or(0);
        let columns = vec![
            times(now_us, 1),
            text(&self.source),
            text(stream.name()),
            text(writer),
            text(writer),
            int(0),
            text(""),
            int(at.saturating_sub(1)),
            int(at),
            text(""),
            int(rows),
            int(came.accepted),
            int(came.duplicates),
            int(refused),
        ];
        let batch = RecordBatch::try_new(file_table().schema, columns)
            .map_err(|e| LakeError::Rows { table: table.name().to_owned(), cause: e.to_string() })?;
        once(table, &format!("{writer}/{stream}"), number, &batch).await
    }
}

fn times(us: i64, n: usize) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(vec![us; n]).with_timezone("UTC"))
}

async fn once(table: &mut Table, writer: &str, number: i64, batch: &RecordBatch) -> Result<(), LakeError> {
    loop {
        table.refresh().await?;
        let at = table.committed(writer).await?.unwrap_or(0);
        if at >= number {
            return Ok(());
        }
        let step = Commit { app: writer.to_owned(), after: at, version: number };
        match table.append(std::slice::from_ref(batch), &[step]).await? {
            Append::Added | Append::AlreadyThere => return Ok(()),
            Append::Moved { .. } => {}
        }
    }
}
