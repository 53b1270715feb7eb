//! Cuts a byte stream into pieces that end at a line end, in bounded memory.

use std::io::{self, Read};

/// A run of whole lines.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// The lines with their line ends.
    pub bytes: Vec<u8>,
    /// Position of the first byte in the decompressed input.
    pub offset: u64,
    /// Number of the first line, from 1.
    pub line: u64,
    /// Lines that were too long to hold, skipped before this chunk ended.
    pub oversize: Vec<Oversize>,
    /// Whether the last line ends with a line end.
    pub terminated: bool,
}

impl Chunk {
    /// Returns the position behind the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.oversize.last().map_or(0, |o| o.offset + o.bytes).max(self.offset + self.bytes.len() as u64)
    }
}

impl Chunk {
    /// Returns the hash of the input up to `end`, which lies in this chunk or at its end;
    /// `before` is the hash state in front of the chunk.
    pub(crate) fn hash_at<R: Read>(
        &self,
        end: u64,
        mut before: blake3::Hasher,
        reader: &ChunkReader<R>,
    ) -> String {
        if end == reader.offset {
            return reader.hash();
        }
        let inside = usize::try_from(end.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        before.update(self.bytes.get(..inside).unwrap_or(&self.bytes));
        hex(&before)
    }
}

fn hex(hasher: &blake3::Hasher) -> String {
    hasher.finalize().to_hex().as_str().chars().take(32).collect()
}

/// A line longer than the limit; its bytes were dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// Position of its first byte.
    pub offset: u64,
    /// Number of the line, from 1.
    pub line: u64,
    /// Length with its line end.
    pub bytes: u64,
    /// Its first bytes.
    pub head: Vec<u8>,
}

/// Reads chunks and keeps the running hash of everything read.
pub struct ChunkReader<R> {
    inner: R,
    carry: Vec<u8>,
    offset: u64,
    line: u64,
    limit: Limits,
    hasher: blake3::Hasher,
    ended: bool,
    failure: Option<io::Error>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) chunk_bytes: usize,
    pub(crate) line_bytes: usize,
    /// Quote character that protects line ends inside records.
    pub(crate) quote: Option<u8>,
}

const HEAD_BYTES: usize = 200;

impl<R: Read> ChunkReader<R> {
    pub(crate) fn new(inner: R, limit: Limits) -> Self {
        Self {
            inner,
            carry: Vec::new(),
            offset: 0,
            line: 1,
            limit,
            hasher: blake3::Hasher::new(),
            ended: false,
            failure: None,
        }
    }

    /// Returns the hash of all bytes in the chunks given out so far.
    pub(crate) fn hash(&self) -> String {
        hex(&self.hasher)
    }

    pub(crate) fn hasher(&self) -> blake3::Hasher {
        self.hasher.clone()
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn take_failure(&mut self) -> Option<io::Error> {
        self.failure.take()
    }

    /// Returns up to `n` first bytes without consuming them.
    pub(crate) fn peek(&mut self, n: usize) -> &[u8] {
        while self.carry.len() < n && !self.ended {
            self.fill(n);
        }
        self.carry.get(..n).unwrap_or(&self.carry)
    }

    /// Consumes bytes up to an absolute position and returns the lines skipped.
    pub(crate) fn skip_to(&mut self, end: u64) -> u64 {
        let first = self.line;
        while self.offset < end {
            if self.carry.is_empty() {
                if self.ended {
                    break;
                }
                self.fill(self.limit.chunk_bytes);
                continue;
            }
            let n = usize::try_from(end - self.offset).unwrap_or(usize::MAX).min(self.carry.len());
            let rest = self.carry.split_off(n);
            let gone = std::mem::replace(&mut self.carry, rest);
            self.consume(&gone);
        }
        self.line - first
    }

    fn consume(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.offset += bytes.len() as u64;
        self.line += count_lines(bytes);
    }

    fn fill(&mut self, want: usize) {
        let old = self.carry.len();
        let need = want.saturating_sub(old).max(1 << 16);
        match (&mut self.inner).take(need as u64).read_to_end(&mut self.carry) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(e) => {
                self.failure = Some(e);
                self.ended = true;
            }
        }
    }

    /// Returns the next chunk, `None` at the end. After a read error the whole lines before it
    /// are returned, then `None`; the error waits in `take_failure`.
    pub(crate) fn next_chunk(&mut self) -> Option<Chunk> {
        let mut chunk = Chunk {
            bytes: Vec::new(),
            offset: self.offset,
            line: self.line,
            oversize: Vec::new(),
            terminated: true,
        };
        loop {
            if !self.ended && self.carry.len() < self.limit.chunk_bytes {
                self.fill(self.limit.chunk_bytes);
            }
            if let Some(cut) = self.cut() {
                let rest = self.carry.split_off(cut);
                chunk.bytes = std::mem::replace(&mut self.carry, rest);
                let bytes = std::mem::take(&mut chunk.bytes);
                self.consume(&bytes);
                chunk.bytes = bytes;
                return Some(chunk);
            }
            if self.carry.len() > self.limit.line_bytes {
                chunk.oversize.push(self.skip_line());
                return Some(chunk);
            }
            if self.ended {
                break;
            }
            self.fill(self.carry.len() + self.limit.chunk_bytes);
        }
        // WHY: behind a read error the last piece may be half a line, so it is left unread.
        if self.carry.is_empty() || self.failure.is_some() {
            return None;
        }
        chunk.bytes = std::mem::take(&mut self.carry);
        let bytes = chunk.bytes.clone();
        self.hasher.update(&bytes);
        self.offset += bytes.len() as u64;
        self.line += count_lines(&bytes);
        chunk.terminated = false;
        Some(chunk)
    }

    // Position behind the last whole line of the chunk size; when not even one line fits, behind
    // the first line, as long as that is below the limit.
    fn cut(&self) -> Option<usize> {
        let held = self.carry.get(..self.limit.line_bytes.max(self.limit.chunk_bytes)).unwrap_or(&self.carry);
        let (window, rest) = held.split_at(held.len().min(self.limit.chunk_bytes));
        let newline = |b: &u8| *b == b'\n';
        let Some(quote) = self.limit.quote else {
            let last = window.iter().rposition(newline);
            return last.or_else(|| Some(window.len() + rest.iter().position(newline)?)).map(|i| i + 1);
        };
        let (mut open, mut last) = (false, None);
        for (i, b) in held.iter().enumerate() {
            if i >= window.len() && last.is_some() {
                break;
            }
            if *b == quote {
                open = !open;
            } else if *b == b'\n' && !open {
                last = Some(i + 1);
            }
        }
        // A quote that never closes must not swallow the file.
        let stuck = last.is_none() && held.len() >= self.limit.line_bytes;
        if stuck { window.iter().rposition(newline).map(|i| i + 1) } else { last }
    }

    fn skip_line(&mut self) -> Oversize {
        let head = self.carry.get(..HEAD_BYTES).unwrap_or(&self.carry).to_vec();
        let mut over = Oversize { offset: self.offset, line: self.line, bytes: 0, head };
        loop {
            let found = self.carry.iter().position(|b| *b == b'\n');
            let n = found.map_or(self.carry.len(), |i| i + 1);
            let rest = self.carry.split_off(n);
            let gone = std::mem::replace(&mut self.carry, rest);
            self.consume(&gone);
            over.bytes += n as u64;
            if found.is_some() || self.ended {
                if found.is_none() {
                    self.line += 1;
                }
                return over;
            }
            self.fill(self.limit.chunk_bytes);
        }
    }
}

pub(crate) fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], chunk_bytes: usize, line_bytes: usize, quote: Option<u8>) -> Vec<Chunk> {
        let mut r = ChunkReader::new(text, Limits { chunk_bytes, line_bytes, quote });
        let mut out = Vec::new();
        while let Some(c) = r.next_chunk() {
            out.push(c);
        }
        out
    }

    #[test]
    fn every_byte_is_in_one_chunk_or_one_oversize_line() {
        let text = b"one\ntwo\n\nthree is rather longer than the limit of twenty bytes\nfour\nfive";
        for chunk_bytes in 1..40 {
            let chunks = read(text, chunk_bytes, 20, None);
            let mut at = 0;
            let mut lines = 1;
            for c in &chunks {
                assert_eq!((c.offset, c.line), (at, lines), "{chunk_bytes}: {c:?}");
                at = c.end();
                lines += count_lines(&c.bytes) + c.oversize.len() as u64;
            }
            assert_eq!(at, text.len() as u64);
            assert_eq!(chunks.iter().map(|c| c.oversize.len()).sum::<usize>(), 1, "{chunk_bytes}");
            assert!(!chunks.last().unwrap().terminated);
        }
    }

    #[test]
    fn quoted_line_ends_stay_inside_a_chunk() {
        let chunks = read(b"a,\"x\ny\"\nb,c\n", 9, 100, Some(b'"'));
        assert_eq!(chunks[0].bytes, b"a,\"x\ny\"\n");
        assert_eq!(chunks[1].bytes, b"b,c\n");
    }
}
