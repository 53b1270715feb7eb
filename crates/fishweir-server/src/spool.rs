//! The durable queue between the door and the lake: what was acknowledged lies here, synced to disk,
//! until the lake holds it.
//!
//! A segment is a file of frames `magic, length, checksum, payload`; a frame is one accepted batch with
//! its idempotency key. One thread writes; every write and sync serves all batches that wait
//! (group commit). A torn frame at the end of a segment was never acknowledged.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;
use fishweir_events::Stream;
use fishweir_ingest::Refused;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

const MAGIC: u32 = 0x4657_5131;
const FRAME_HEAD: usize = 16;
const SEGMENT: &str = "seg";
/// Frames written with one sync at most.
const TOGETHER_MAX: usize = 256;

/// Rows of one stream of a batch.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) stream: Stream,
    pub(crate) batches: Vec<RecordBatch>,
    pub(crate) own_ids: bool,
    pub(crate) refused: Vec<Refused>,
}

/// What the sender of a batch is told; kept with the key to tell it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Counts {
    pub(crate) rows: u64,
    pub(crate) accepted: u64,
    pub(crate) rejected: u64,
}

/// One accepted batch.
#[derive(Clone, Debug)]
pub(crate) struct Accepted {
    /// Name of the batch: its rows' ids are made of it.
    pub(crate) batch_id: String,
    /// Hash of the idempotency key, when one was given.
    pub(crate) key: Option<String>,
    /// Hash of the body.
    pub(crate) body: String,
    pub(crate) at_us: i64,
    pub(crate) counts: Counts,
    pub(crate) parts: Vec<Part>,
}

impl Accepted {
    /// Returns the bytes its rows take in memory.
    pub(crate) fn bytes(&self) -> usize {
        let batches = self.parts.iter().flat_map(|p| &p.batches);
        batches.map(RecordBatch::get_array_memory_size).sum::<usize>() + 1024
    }
}

#[derive(Serialize, Deserialize)]
struct Head {
    batch_id: String,
    key: Option<String>,
    body: String,
    at_us: i64,
    counts: Counts,
    parts: Vec<PartHead>,
}

#[derive(Serialize, Deserialize)]
struct PartHead {
    stream: String,
    own_ids: bool,
    bytes: usize,
    refused: Vec<Refused>,
}

fn encode(a: &Accepted) -> io::Result<Vec<u8>> {
    let mut bodies = Vec::new();
    let mut parts = Vec::new();
    for p in &a.parts {
        let before = bodies.len();
        if let Some(first) = p.batches.first() {
            let mut w = StreamWriter::try_new(&mut bodies, &first.schema()).map_err(io::Error::other)?;
            p.batches.iter().try_for_each(|b| w.write(b)).map_err(io::Error::other)?;
            w.finish().map_err(io::Error::other)?;
        }
        parts.push(PartHead {
            stream: p.stream.name().to_owned(),
            own_ids: p.own_ids,
            bytes: bodies.len() - before,
            refused: p.refused.clone(),
        });
    }
    let head = Head {
        batch_id: a.batch_id.clone(),
        key: a.key.clone(),
        body: a.body.clone(),
        at_us: a.at_us,
        counts: a.counts,
        parts,
    };
    let head = serde_json::to_vec(&head).map_err(io::Error::other)?;
    let length = 4 + head.len() + bodies.len();
    let mut out = Vec::with_capacity(FRAME_HEAD + length);
    out.extend(MAGIC.to_le_bytes());
    out.extend(u32::try_from(length).map_err(io::Error::other)?.to_le_bytes());
    out.extend([0; 8]);
    out.extend(u32::try_from(head.len()).map_err(io::Error::other)?.to_le_bytes());
    out.extend(head);
    out.extend(bodies);
    let sum = checksum(&out[FRAME_HEAD..]);
    out[8..FRAME_HEAD].copy_from_slice(&sum);
    Ok(out)
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    let mut out = [0; 8];
    out.copy_from_slice(&blake3::hash(payload).as_bytes()[..8]);
    out
}

fn decode(payload: &[u8]) -> io::Result<Accepted> {
    let short = || io::Error::new(io::ErrorKind::InvalidData, "a frame is too short");
    let size = payload.first_chunk::<4>().map(|b| u32::from_le_bytes(*b) as usize).ok_or_else(short)?;
    let head: Head = serde_json::from_slice(payload.get(4..4 + size).ok_or_else(short)?)?;
    let mut at = 4 + size;
    let mut parts = Vec::new();
    for p in head.parts {
        let bytes = payload.get(at..at + p.bytes).ok_or_else(short)?;
        at += p.bytes;
        let batches = if bytes.is_empty() {
            Vec::new()
        } else {
            let reader = StreamReader::try_new(bytes, None).map_err(io::Error::other)?;
            reader.collect::<Result<_, _>>().map_err(io::Error::other)?
        };
        let stream = p.stream.parse().map_err(io::Error::other)?;
        parts.push(Part { stream, batches, own_ids: p.own_ids, refused: p.refused });
    }
    let Head { batch_id, key, body, at_us, counts, .. } = head;
    Ok(Accepted { batch_id, key, body, at_us, counts, parts })
}

/// What a segment held.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) path: PathBuf,
    /// Who wrote it, see [`Spool::open`].
    pub(crate) writer: String,
    pub(crate) number: i64,
    pub(crate) batches: Vec<Accepted>,
    /// Bytes at its end that are no whole frame.
    pub(crate) torn_bytes: usize,
}

/// Returns the segments in a folder, oldest first.
///
/// # Errors
/// A file that cannot be read, or a damaged frame before the end: data that was acknowledged.
pub(crate) fn left_over(folder: &Path) -> io::Result<Vec<Segment>> {
    let mut found: BTreeMap<(std::time::SystemTime, String, i64), PathBuf> = BTreeMap::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some((writer, number)) = name_of(&path) else { continue };
        let made = fs::metadata(&path)?.modified()?;
        found.insert((made, writer, number), path);
    }
    let mut out = Vec::new();
    for ((_, writer, number), path) in found {
        let (batches, torn_bytes) = read(&path).map_err(|e| {
            let text = format!(
                "`{}` holds acknowledged events and cannot be read: {e}\nhint: put it aside to start without them",
                path.display()
            );
            io::Error::new(e.kind(), text)
        })?;
        out.push(Segment { path, writer, number, batches, torn_bytes });
    }
    out.sort_by(|a, b| (&a.writer, a.number).cmp(&(&b.writer, b.number)));
    Ok(out)
}

fn name_of(path: &Path) -> Option<(String, i64)> {
    if path.extension()? != SEGMENT {
        return None;
    }
    let (writer, number) = path.file_stem()?.to_str()?.rsplit_once('-')?;
    Some((writer.to_owned(), number.parse().ok()?))
}

fn read(path: &Path) -> io::Result<(Vec<Accepted>, usize)> {
    let bytes = fs::read(path)?;
    let mut at = 0;
    let mut out = Vec::new();
    while let Some(head) = bytes.get(at..at + FRAME_HEAD) {
        let word = |i: usize| head[i..].first_chunk::<4>().map_or(0, |b| u32::from_le_bytes(*b));
        let length = word(4) as usize;
        let Some(payload) = bytes.get(at + FRAME_HEAD..at + FRAME_HEAD + length) else { break };
        if word(0) != MAGIC || checksum(payload) != head[8..FRAME_HEAD] {
            break;
        }
        out.push(decode(payload)?);
        at += FRAME_HEAD + length;
    }
    Ok((out, bytes.len() - at))
}

enum Order {
    Keep(Box<Accepted>, oneshot::Sender<io::Result<()>>),
    Rotate(oneshot::Sender<io::Result<Option<Full>>>),
}

/// A segment that is complete, with its batches still in memory.
#[derive(Debug)]
pub(crate) struct Full {
    pub(crate) path: PathBuf,
    pub(crate) number: i64,
    pub(crate) batches: Vec<Accepted>,
}

/// The writing end of the queue.
#[derive(Clone)]
pub(crate) struct Spool {
    orders: mpsc::SyncSender<Order>,
    writer: String,
}

impl Spool {
    /// Returns a queue that writes new segments in a folder under the name of a writer never used before.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub(crate) fn open(folder: &Path, writer: &str) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let (orders, inbox) = mpsc::sync_channel(1024);
        let mut pen = Pen { folder: folder.to_owned(), writer: writer.to_owned(), number: 0, open: None };
        std::thread::Builder::new().name("spool".to_owned()).spawn(move || pen.work(&inbox))?;
        Ok(Self { orders, writer: writer.to_owned() })
    }

    pub(crate) fn writer(&self) -> &str {
        &self.writer
    }

    /// Returns when the batch is on disk.
    pub(crate) async fn keep(&self, batch: Accepted) -> io::Result<()> {
        let (done, wait) = oneshot::channel();
        self.send(Order::Keep(Box::new(batch), done)).await?;
        wait.await.map_err(|_| gone())?
    }

    /// Ends the present segment and returns it; `None` when nothing is in it.
    pub(crate) async fn rotate(&self) -> io::Result<Option<Full>> {
        let (done, wait) = oneshot::channel();
        self.send(Order::Rotate(done)).await?;
        wait.await.map_err(|_| gone())?
    }

    async fn send(&self, mut order: Order) -> io::Result<()> {
        loop {
            match self.orders.try_send(order) {
                Ok(()) => return Ok(()),
                Err(mpsc::TrySendError::Disconnected(_)) => return Err(gone()),
                Err(mpsc::TrySendError::Full(back)) => order = back,
            }
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("the queue on disk stopped; see the server's messages")
}

struct OpenSegment {
    file: File,
    path: PathBuf,
    /// Bytes up to the last sync that went well.
    synced: u64,
    batches: Vec<Accepted>,
}

struct Pen {
    folder: PathBuf,
    writer: String,
    number: i64,
    open: Option<OpenSegment>,
}

impl Pen {
    fn work(&mut self, inbox: &mpsc::Receiver<Order>) {
        while let Ok(first) = inbox.recv() {
            let mut keep = Vec::new();
            let mut rotate = None;
            let mut next = Some(first);
            while let Some(order) = next.take() {
                match order {
                    Order::Keep(batch, done) => keep.push((*batch, done)),
                    Order::Rotate(done) => rotate = Some(done),
                }
                if keep.len() < TOGETHER_MAX && rotate.is_none() {
                    next = inbox.try_recv().ok();
                }
            }
            if !keep.is_empty() {
                self.keep(keep);
            }
            if let Some(done) = rotate {
                let _ = done.send(self.rotate());
            }
        }
    }

    fn keep(&mut self, all: Vec<(Accepted, oneshot::Sender<io::Result<()>>)>) {
        let (batches, waiting): (Vec<_>, Vec<_>) = all.into_iter().unzip();
        match self.write(&batches) {
            Ok(()) => {
                if let Some(open) = &mut self.open {
                    open.batches.extend(batches);
                }
                waiting.into_iter().for_each(|w| drop(w.send(Ok(()))));
            }
            Err(e) => {
                // A frame that may be half written must not be followed by a whole one.
                self.abandon();
                let text = format!("cannot keep the batch: {e}");
                waiting.into_iter().for_each(|w| drop(w.send(Err(io::Error::other(text.clone())))));
            }
        }
    }

    fn write(&mut self, batches: &[Accepted]) -> io::Result<()> {
        let mut bytes = Vec::new();
        for b in batches {
            bytes.extend(encode(b)?);
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.number += 1;
                let path = self.folder.join(format!("{}-{}.{SEGMENT}", self.writer, self.number));
                let file = OpenOptions::new().create_new(true).append(true).open(&path)?;
                // The name must survive a crash as well as the content.
                File::open(&self.folder)?.sync_all()?;
                self.open.insert(OpenSegment { file, path, synced: 0, batches: Vec::new() })
            }
        };
        open.file.write_all(&bytes)?;
        open.file.sync_data()?;
        open.synced += bytes.len() as u64;
        Ok(())
    }

    // Cuts off what was written since the last good sync; if even that fails the segment ends here, and
    // its torn end is found by whoever reads it.
    fn abandon(&mut self) {
        let Some(open) = &mut self.open else { return };
        if open.file.set_len(open.synced).and_then(|()| open.file.sync_all()).is_err() {
            eprintln!("warning: `{}` may end in half a batch that was not acknowledged", open.path.display());
        }
    }

    fn rotate(&mut self) -> io::Result<Option<Full>> {
        let Some(open) = self.open.take() else { return Ok(None) };
        Ok(Some(Full { path: open.path, number: self.number, batches: open.batches }))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::*;

    fn batch(n: i64) -> Accepted {
        let column = std::sync::Arc::new(Int64Array::from_iter_values(0..n)) as arrow::array::ArrayRef;
        let rows = RecordBatch::try_from_iter([("a", column)]).unwrap();
        let refused = vec![Refused { line: 1, offset: 0, reason: "r".to_owned(), excerpt: "e".to_owned() }];
        Accepted {
            batch_id: format!("b{n}"),
            key: Some(format!("k{n}")),
            body: "hash".to_owned(),
            at_us: n,
            counts: Counts { rows: 1, accepted: 1, rejected: 0 },
            parts: vec![
                Part { stream: Stream::Requests, batches: vec![rows], own_ids: true, refused },
                Part { stream: Stream::Notes, batches: Vec::new(), own_ids: false, refused: Vec::new() },
            ],
        }
    }

    #[tokio::test]
    async fn what_was_kept_is_found_again_and_a_torn_end_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let spool = Spool::open(dir.path(), "w").unwrap();
        for n in 1..4 {
            spool.keep(batch(n)).await.unwrap();
        }
        let full = spool.rotate().await.unwrap().unwrap();
        assert_eq!((full.number, full.batches.len()), (1, 3));
        assert!(spool.rotate().await.unwrap().is_none(), "nothing new");
        spool.keep(batch(9)).await.unwrap();
        // A crash in the middle of a write.
        let path = dir.path().join("w-2.seg");
        let whole = fs::read(&path).unwrap();
        let mut torn = whole.clone();
        torn.extend(&whole[..whole.len() - 3]);
        fs::write(&path, torn).unwrap();
        let found = left_over(dir.path()).unwrap();
        assert_eq!(found.iter().map(|s| (s.number, s.batches.len())).collect::<Vec<_>>(), [(1, 3), (2, 1)]);
        assert_eq!(found[1].torn_bytes, whole.len() - 3);
        let b = &found[0].batches[2];
        assert_eq!((b.batch_id.as_str(), b.key.as_deref(), b.parts.len()), ("b3", Some("k3"), 2));
        assert_eq!(b.parts[0].batches[0].num_rows(), 3);
        assert_eq!((b.parts[0].own_ids, &b.parts[0].refused[0].reason), (true, &"r".to_owned()));
        // A bit that flipped is no frame.
        let mut bad = whole;
        *bad.last_mut().unwrap() ^= 1;
        fs::write(&path, bad).unwrap();
        assert_eq!(left_over(dir.path()).unwrap()[1].batches.len(), 0);
    }
}
