//! How rows get into the lake: refused rows, then the ledger, then the rows, for one file or several at once.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, StringViewArray, TimestampMicrosecondArray};
use arrow::record_batch::RecordBatch;
use fishweir_events::Stream;
use fishweir_lake::{Append, Commit};

use super::parser::generalise;
use super::{FileError, Ingest, Open, Piece, Progress, Tables, Tally};
use crate::decode::BadLine;
use crate::dedup::drop_known;
use crate::ledger::{Identity, app};
use crate::tables::{file_table, reject_table};

/// Times that refused rows are tried against another process that writes them.
const REJECT_TRIES: usize = 20;

/// Rows of one file, ready to be committed.
pub(super) struct Share {
    /// Place of the file's report.
    pub(super) report: usize,
    pub(super) stream: Stream,
    pub(super) piece: Piece,
    /// Position in the file before these rows.
    pub(super) after: u64,
    pub(super) identity: Identity,
}

impl Share {
    fn step(&self, after: u64, version: u64) -> Commit {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        Commit { app: app(&self.identity.file_id), after: whole(after), version: whole(version) }
    }

    fn moves(&self) -> bool {
        self.piece.end > self.after
    }
}

/// What a try to commit came to.
enum Tried {
    /// Rows added, of each share.
    Added(Vec<u64>),
    /// Every row was there already.
    Known,
    /// One of several files was read by somebody else in the meantime.
    Apart,
}

impl Ingest {
    /// Commits what waits, together if it can be, and files the reports.
    pub(super) async fn flush(&self, open: &mut Open, tally: &mut Tally, progress: &dyn Progress) {
        let shares = std::mem::take(&mut open.waiting);
        let Some(tables) = shares.first().and_then(|s| open.tables.get_mut(&s.stream)) else { return };
        if let Err(e) = self.commit(tables, &shares, tally).await {
            for share in &shares {
                let file = tally.files[share.report].file.clone();
                tally.fail(share.report, format!("`{file}`: {e}"));
            }
        }
        for share in &shares {
            progress.end(&tally.files[share.report]);
        }
    }

    /// Commits rows of files of one stream and counts them.
    ///
    /// # Errors
    /// Storage that fails, or another process that reads the same file.
    pub(super) async fn commit(
        &self,
        tables: &mut Tables,
        shares: &[Share],
        tally: &mut Tally,
    ) -> Result<(), FileError> {
        match self.try_commit(tables, shares, tally).await? {
            Tried::Apart if shares.len() == 1 => Err(FileError::Other(
                "another process is reading the same file; run again to take what it left".to_owned(),
            )),
            // WHY: which of them moved shows when each is tried by itself; the others are not held up.
            Tried::Apart => {
                for share in shares {
                    let one = std::slice::from_ref(share);
                    if let Err(e) = Box::pin(self.commit(tables, one, tally)).await {
                        let file = tally.files[share.report].file.clone();
                        tally.fail(share.report, format!("`{file}`: {e}"));
                    }
                }
                Ok(())
            }
            Tried::Added(accepted) => {
                for (share, n) in shares.iter().zip(accepted) {
                    count(share, n, tally);
                }
                Ok(())
            }
            Tried::Known => {
                shares.iter().for_each(|s| count(s, 0, tally));
                Ok(())
            }
        }
    }

    // Order matters: refused rows, then the ledger, then the rows themselves. Only the last step
    // moves the position from which a later run reads on, so a crash between repeats the first
    // two, which are themselves safe to repeat.
    async fn try_commit(
        &self,
        tables: &mut Tables,
        shares: &[Share],
        tally: &Tally,
    ) -> Result<Tried, FileError> {
        let now_us = (self.shared.now_us)();
        for share in shares {
            self.commit_rejects(tables, share, &tally.files[share.report].file, now_us).await?;
        }
        let own_ids = shares.iter().any(|s| s.piece.own_ids);
        let moves = shares.iter().any(Share::moves);
        loop {
            let mut batches: Vec<RecordBatch> =
                shares.iter().flat_map(|s| s.piece.batches.iter().cloned()).collect();
            let mut steps: Vec<Commit> =
                shares.iter().filter(|s| s.moves()).map(|s| s.step(s.after, s.piece.end)).collect();
            let files = steps.len();
            if own_ids {
                let ids = format!("ids/{}", self.shared.source.name);
                let at = tables.raw.committed(&ids).await?.unwrap_or(0);
                (batches, _) = drop_known(&tables.raw, &self.shared.source.name, batches).await?;
                steps.push(Commit { app: ids, after: at, version: at + 1 });
            }
            let mut rows = batches.iter().map(|b| b.num_rows() as u64);
            let accepted: Vec<u64> =
                shares.iter().map(|s| rows.by_ref().take(s.piece.batches.len()).sum()).collect();
            if moves {
                self.commit_ledger(tables, shares, &accepted, tally, now_us).await?;
            }
            if steps.is_empty() || (!moves && accepted.iter().all(|n| *n == 0)) {
                return Ok(Tried::Added(accepted));
            }
            match tables.raw.append(&batches, &steps).await? {
                Append::Added => return Ok(Tried::Added(accepted)),
                Append::AlreadyThere if shares.len() == 1 => return Ok(Tried::Known),
                // Another process stored rows of this source: look again for known ids.
                Append::Moved { index, .. } if index >= files => tables.raw.refresh().await?,
                Append::AlreadyThere | Append::Moved { .. } => return Ok(Tried::Apart),
            }
        }
    }

    async fn commit_rejects(
        &self,
        tables: &mut Tables,
        share: &Share,
        file: &str,
        now_us: i64,
    ) -> Result<(), FileError> {
        if share.piece.rejects.is_empty() {
            return Ok(());
        }
        let name = app(&share.identity.file_id);
        for _ in 0..REJECT_TRIES {
            let at = tables.rejects.committed(&name).await?.unwrap_or(0);
            let from = u64::try_from(at).unwrap_or(0);
            let new: Vec<&BadLine> = share.piece.rejects.iter().filter(|b| b.offset >= from).collect();
            let Some(last) = new.iter().map(|b| b.offset + 1).max() else { return Ok(()) };
            let n = new.len();
            let text = |f: &dyn Fn(&BadLine) -> String| {
                Arc::new(new.iter().map(|b| Some(f(b))).collect::<StringViewArray>())
            };
            let same = |s: &str| Arc::new(StringViewArray::from_iter_values(std::iter::repeat_n(s, n)));
            let int = |f: &dyn Fn(&BadLine) -> u64| {
                Arc::new(new.iter().map(|b| i64::try_from(f(b)).ok()).collect::<Int64Array>())
            };
            let columns: Vec<ArrayRef> = vec![
                Arc::new(TimestampMicrosecondArray::from(vec![now_us; n]).with_timezone("UTC")),
                same(&self.shared.source.name),
                same(share.stream.name()),
                same(file),
                same(&share.identity.file_id),
                int(&|b| b.line),
                int(&|b| b.offset),
                text(&|b| b.reason.clone()),
                text(&|b| b.excerpt.clone()),
            ];
            let batch = RecordBatch::try_new(reject_table().schema, columns)
                .map_err(|e| FileError::Other(e.to_string()))?;
            let version = i64::try_from(last).unwrap_or(i64::MAX).max(at + 1);
            let step = Commit { app: name.clone(), after: at, version };
            match tables.rejects.append(&[batch], &[step]).await? {
                Append::Added | Append::AlreadyThere => return Ok(()),
                Append::Moved { .. } => tables.rejects.refresh().await?,
            }
        }
        Err(FileError::Other("another process keeps writing rejects of the same file".to_owned()))
    }

    async fn commit_ledger(
        &self,
        tables: &mut Tables,
        shares: &[Share],
        accepted: &[u64],
        tally: &Tally,
        now_us: i64,
    ) -> Result<(), FileError> {
        let all: Vec<(&Share, u64)> =
            shares.iter().zip(accepted.iter().copied()).filter(|(s, _)| s.moves()).collect();
        let text = |f: &dyn Fn(&Share) -> String| {
            Arc::new(StringViewArray::from_iter_values(all.iter().map(|(s, _)| f(s)))) as ArrayRef
        };
        let int = |f: &dyn Fn(&Share, u64) -> u64| {
            let values = all.iter().map(|(s, n)| Some(i64::try_from(f(s, *n)).unwrap_or(i64::MAX)));
            Arc::new(values.collect::<Int64Array>()) as ArrayRef
        };
        let columns = vec![
            Arc::new(TimestampMicrosecondArray::from(vec![now_us; all.len()]).with_timezone("UTC")) as _,
            text(&|_| self.shared.source.name.clone()),
            text(&|s| s.stream.name().to_owned()),
            text(&|s| tally.files[s.report].file.clone()),
            text(&|s| s.identity.file_id.clone()),
            int(&|s, _| s.identity.head_bytes as u64),
            text(&|s| s.identity.head_hash.clone()),
            int(&|s, _| s.after),
            int(&|s, _| s.piece.end),
            text(&|s| s.piece.prefix_hash.clone()),
            int(&|s, _| s.piece.rows),
            int(&|_, n| n),
            int(&|s, n| duplicates(&s.piece, n)),
            int(&|s, _| s.piece.rejects.len() as u64),
        ];
        let batch = RecordBatch::try_new(file_table().schema, columns)
            .map_err(|e| FileError::Other(e.to_string()))?;
        tables.files.append(&[batch], &[]).await?;
        Ok(())
    }
}

// Rows of a piece that the lake had.
fn duplicates(piece: &Piece, accepted: u64) -> u64 {
    let rows: u64 = piece.batches.iter().map(|b| b.num_rows() as u64).sum();
    rows.saturating_sub(accepted)
}

fn count(share: &Share, accepted: u64, tally: &mut Tally) {
    let report = &mut tally.files[share.report];
    report.rows += share.piece.rows;
    report.accepted += accepted;
    report.duplicates += duplicates(&share.piece, accepted);
    report.rejected += share.piece.rejects.len() as u64;
    for bad in &share.piece.rejects {
        *tally.reasons.entry(generalise(&bad.reason)).or_default() += 1;
    }
}
