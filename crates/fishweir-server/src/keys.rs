//! Idempotency keys: which batches were acknowledged in the last day, across restarts.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::spool::{Accepted, Counts};

/// How long a key is remembered.
pub(crate) const KEPT_US: i64 = 24 * 3_600_000_000;
/// How many keys are remembered at most; the oldest go first.
pub(crate) const KEYS_MAX: usize = 1_000_000;
const HOUR_US: i64 = 3_600_000_000;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Line {
    key: String,
    body: String,
    at_us: i64,
    counts: Counts,
}

#[derive(Clone, Debug)]
enum Known {
    InWork,
    Done { body: [u8; 16], counts: Counts },
}

#[derive(Default)]
struct Book {
    known: HashMap<[u8; 16], Known>,
    order: VecDeque<(i64, [u8; 16])>,
}

/// Keys seen, in memory and in a log of one file per hour.
pub(crate) struct Keys {
    folder: PathBuf,
    book: Mutex<Book>,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Nobody used it; it is the caller's until [`Keys::settle`] or [`Keys::release`].
    Ours,
    /// Another request with it is being worked on.
    InWork,
    /// The same batch was acknowledged.
    Done(Counts),
    /// Another batch was acknowledged under it.
    Other,
}

fn short(hex: &str) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&blake3::hash(hex.as_bytes()).as_bytes()[..16]);
    out
}

impl Keys {
    /// Returns the keys that a folder remembers; files older than a day are removed.
    pub(crate) fn open(folder: &Path, now_us: i64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let out = Self { folder: folder.to_owned(), book: Mutex::default() };
        let mut files: Vec<(i64, PathBuf)> = Vec::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let hour = path.file_name().and_then(|n| n.to_str()?.strip_prefix("keys-")?.parse::<i64>().ok());
            files.extend(hour.map(|h| (h, path)));
        }
        files.sort();
        for (hour, path) in files {
            if (hour + 1) * HOUR_US < now_us - KEPT_US {
                fs::remove_file(&path)?;
                continue;
            }
            // A torn last line belongs to a segment that is still there.
            let lines = BufReader::new(File::open(&path)?).lines();
            for line in lines.map_while(Result::ok).filter_map(|l| serde_json::from_str::<Line>(&l).ok()) {
                out.remember(&line);
            }
        }
        Ok(out)
    }

    fn remember(&self, line: &Line) {
        let Ok(mut book) = self.book.lock() else { return };
        let key = short(&line.key);
        book.known.insert(key, Known::Done { body: short(&line.body), counts: line.counts });
        book.order.push_back((line.at_us, key));
        while book.order.len() > KEYS_MAX || book.order.front().is_some_and(|o| o.0 < line.at_us - KEPT_US) {
            if let Some((_, old)) = book.order.pop_front() {
                book.known.remove(&old);
            }
        }
    }

    /// Takes a key for a body, or says what is known of it.
    pub(crate) fn claim(&self, key: &str, body: &str) -> Claim {
        let Ok(mut book) = self.book.lock() else { return Claim::InWork };
        match book.known.get(&short(key)) {
            Some(Known::InWork) => Claim::InWork,
            Some(Known::Done { body: b, counts }) if *b == short(body) => Claim::Done(*counts),
            Some(Known::Done { .. }) => Claim::Other,
            None => {
                book.known.insert(short(key), Known::InWork);
                Claim::Ours
            }
        }
    }

    /// Gives a key back: its batch was not acknowledged.
    pub(crate) fn release(&self, key: &str) {
        if let Ok(mut book) = self.book.lock()
            && matches!(book.known.get(&short(key)), Some(Known::InWork))
        {
            book.known.remove(&short(key));
        }
    }

    /// Remembers the key of a batch that is on disk.
    pub(crate) fn settle(&self, batch: &Accepted) {
        if let Some(line) = line(batch) {
            self.remember(&line);
        }
    }

    /// Writes the keys of batches to disk, before the segment that held them goes.
    pub(crate) fn log(&self, batches: &[Accepted], now_us: i64) -> io::Result<()> {
        let mut text = String::new();
        for line in batches.iter().filter_map(line) {
            text.push_str(&serde_json::to_string(&line)?);
            text.push('\n');
        }
        if text.is_empty() {
            return Ok(());
        }
        let path = self.folder.join(format!("keys-{}", now_us / HOUR_US));
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_data()
    }
}

fn line(b: &Accepted) -> Option<Line> {
    Some(Line { key: b.key.clone()?, body: b.body.clone(), at_us: b.at_us, counts: b.counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(key: &str, at_us: i64) -> Accepted {
        let counts = Counts { rows: 2, accepted: 2, rejected: 0 };
        let (key, body) = (Some(key.to_owned()), "body".to_owned());
        Accepted { batch_id: String::new(), key, body, at_us, counts, parts: Vec::new() }
    }

    #[test]
    fn a_key_is_claimed_once_and_remembered_for_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let keys = Keys::open(dir.path(), 0).unwrap();
        assert_eq!(keys.claim("a", "body"), Claim::Ours);
        assert_eq!(keys.claim("a", "body"), Claim::InWork);
        keys.release("a");
        assert_eq!(keys.claim("a", "body"), Claim::Ours);
        let b = batch("a", 5);
        keys.settle(&b);
        assert_eq!(keys.claim("a", "body"), Claim::Done(b.counts));
        assert_eq!(keys.claim("a", "else"), Claim::Other);
        keys.release("a");
        assert_eq!(keys.claim("a", "body"), Claim::Done(b.counts), "what is done is not given back");
        keys.log(&[b], 5).unwrap();
        assert_eq!(Keys::open(dir.path(), 6).unwrap().claim("a", "body"), Claim::Done(batch("a", 5).counts));
        // A day later it is forgotten, on disk as well.
        let later = Keys::open(dir.path(), KEPT_US + 2 * HOUR_US).unwrap();
        assert_eq!(later.claim("a", "body"), Claim::Ours);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        keys.settle(&batch("b", KEPT_US + 10));
        assert_eq!(keys.claim("a", "body"), Claim::Ours, "in memory too");
    }
}
