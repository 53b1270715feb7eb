//! From a chunk of text to columns of source fields, line by line.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringViewBuilder};

use crate::access_log::AccessLog;
use crate::chunks::Chunk;
use crate::ndjson::Ndjson;
use crate::source::{Format, Header, Source};

/// A line that no row could be made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) line: u64,
    pub(crate) offset: u64,
    pub(crate) reason: String,
    pub(crate) excerpt: String,
}

/// Decoded rows with their positions.
#[derive(Debug, Default)]
pub(crate) struct Decoded {
    pub(crate) fields: Vec<(String, ArrayRef)>,
    pub(crate) lines: Vec<u64>,
    pub(crate) offsets: Vec<u64>,
    pub(crate) bad: Vec<BadLine>,
    /// Input rows, good and bad.
    pub(crate) rows: u64,
    /// Position of an unfinished last line that could not be read.
    pub(crate) unfinished: Option<u64>,
}

/// Reads chunks of one file.
#[derive(Clone, Debug)]
pub(crate) struct Decoder {
    source: Arc<Source>,
    format: Format,
    wanted: Vec<String>,
    columns: Option<Vec<String>>,
}

const EXCERPT_CHARS: usize = 160;
pub(crate) const UNFINISHED: &str = "unfinished last line; read again when the file grows";

impl Decoder {
    pub(crate) fn new(source: Arc<Source>, format: Format, wanted: Vec<String>) -> Self {
        let columns = (source.header == Header::None).then(|| source.columns.clone());
        Self { source, format, wanted, columns }
    }

    /// Takes the column names from the first bytes of the file, where the format has them there.
    pub(crate) fn read_header(&mut self, head: &[u8]) {
        if self.format != Format::Csv {
            return;
        }
        let text = String::from_utf8_lossy(head);
        match self.source.header {
            Header::None => {}
            Header::FirstLine => {
                let first = text.trim_start_matches('\u{feff}').lines().find(|l| !self.is_comment(l));
                self.columns = first.and_then(|l| self.split(l));
            }
            Header::FieldsComment => {
                let line = text.lines().find_map(|l| l.strip_prefix("#Fields:"));
                self.columns = line.map(|l| l.split_whitespace().map(str::to_owned).collect());
            }
        }
    }

    fn is_comment(&self, line: &str) -> bool {
        self.source.comment.is_some_and(|c| line.as_bytes().first() == Some(&c))
    }

    fn csv(&self, text: &[u8]) -> csv::Reader<std::io::Cursor<Vec<u8>>> {
        csv::ReaderBuilder::new()
            .delimiter(self.source.delimiter)
            .quoting(self.source.quote)
            .comment(self.source.comment)
            .has_headers(false)
            .flexible(true)
            .from_reader(std::io::Cursor::new(text.to_vec()))
    }

    fn split(&self, line: &str) -> Option<Vec<String>> {
        let record = self.csv(line.as_bytes()).records().next()?.ok()?;
        Some(record.iter().map(|c| c.trim().to_owned()).collect())
    }

    pub(crate) fn columns(&self) -> Option<Vec<String>> {
        self.columns.clone()
    }

    /// Returns the rows of a chunk.
    pub(crate) fn decode(&self, chunk: &Chunk) -> Decoded {
        let mut out = match self.format {
            Format::AccessLog => self.access_log(chunk),
            Format::Csv => self.delimited(chunk),
            Format::Ndjson | Format::Auto | Format::Parquet => self.ndjson(chunk),
        };
        for o in &chunk.oversize {
            out.rows += 1;
            out.bad.push(BadLine {
                line: o.line,
                offset: o.offset,
                reason: format!("line of {} bytes is longer than the limit", o.bytes),
                excerpt: redact(&String::from_utf8_lossy(&o.head)),
            });
        }
        if !chunk.terminated
            && let Some(last) = out.bad.last_mut()
            && last.offset + 1 > chunk.offset
            && chunk.oversize.is_empty()
            && is_last_line(chunk, last.offset)
        {
            last.reason = format!("{} ({UNFINISHED})", last.reason);
            out.unfinished = Some(last.offset);
        }
        out
    }

    fn access_log(&self, chunk: &Chunk) -> Decoded {
        let mut parser = AccessLog::new();
        let mut out = Decoded::default();
        each_line(chunk, &mut out, |line| parser.push(line));
        out.fields = parser.finish();
        out
    }

    fn ndjson(&self, chunk: &Chunk) -> Decoded {
        let mut parser = Ndjson::new(&self.wanted);
        let mut out = Decoded::default();
        each_line(chunk, &mut out, |line| parser.push(line));
        out.fields = parser.finish();
        out
    }

    fn delimited(&self, chunk: &Chunk) -> Decoded {
        let mut out = Decoded::default();
        let Some(names) = self.columns.clone() else {
            each_line(chunk, &mut out, |_| Err("the file has no line of column names".to_owned()));
            return out;
        };
        let mut columns: Vec<StringViewBuilder> = names.iter().map(|_| StringViewBuilder::new()).collect();
        let mut reader = self.csv(&chunk.bytes);
        let mut record = csv::ByteRecord::new();
        loop {
            let at = reader.position().clone();
            let more = reader.read_byte_record(&mut record);
            let place = record.position().cloned().unwrap_or(at);
            let (offset, line) = (chunk.offset + place.byte(), chunk.line + place.line().saturating_sub(1));
            let refused = match more {
                Ok(false) => break,
                Err(e) => Some(e.to_string()),
                Ok(true) => {
                    let header = offset < HEADER_BYTES_MAX
                        && self.source.header == Header::FirstLine
                        && record.iter().map(trim_bom).eq(names.iter().map(String::as_bytes));
                    if header {
                        continue;
                    }
                    let text = csv::StringRecord::from_byte_record(record.clone());
                    match text {
                        Err(_) => Some("not valid UTF-8".to_owned()),
                        Ok(cells) if cells.len() != names.len() => {
                            Some(format!("{} cells where the header has {}", cells.len(), names.len()))
                        }
                        Ok(cells) => {
                            columns.iter_mut().zip(cells.iter()).for_each(|(c, v)| c.append_value(v));
                            None
                        }
                    }
                }
            };
            out.rows += 1;
            match refused {
                None => {
                    out.lines.push(line);
                    out.offsets.push(offset);
                }
                Some(reason) => {
                    let shown: Vec<u8> = record.iter().collect::<Vec<_>>().join(&self.source.delimiter);
                    let excerpt = redact(&String::from_utf8_lossy(&shown));
                    out.bad.push(BadLine { line, offset, reason, excerpt });
                }
            }
        }
        let arrays = columns.iter_mut().map(|b| Arc::new(b.finish()) as ArrayRef);
        out.fields = names.into_iter().zip(arrays).collect();
        out
    }
}

const HEADER_BYTES_MAX: u64 = 65_536;

fn trim_bom(cell: &[u8]) -> &[u8] {
    cell.strip_prefix("\u{feff}".as_bytes()).unwrap_or(cell).trim_ascii()
}

fn is_last_line(chunk: &Chunk, offset: u64) -> bool {
    let inside = usize::try_from(offset.saturating_sub(chunk.offset)).unwrap_or(usize::MAX);
    chunk.bytes.get(inside..).is_some_and(|rest| !rest.contains(&b'\n'))
}

fn each_line(chunk: &Chunk, out: &mut Decoded, mut push: impl FnMut(&str) -> Result<(), String>) {
    let (mut offset, mut line) = (chunk.offset, chunk.line);
    for bytes in chunk.bytes.split_inclusive(|b| *b == b'\n') {
        let content = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let content = content.strip_suffix(b"\r").unwrap_or(content);
        let content = if offset == 0 {
            content.strip_prefix("\u{feff}".as_bytes()).unwrap_or(content)
        } else {
            content
        };
        let result = match std::str::from_utf8(content) {
            Ok(text) if text.trim().is_empty() => Err("empty line".to_owned()),
            Ok(text) => push(text),
            Err(_) => Err("not valid UTF-8".to_owned()),
        };
        out.rows += 1;
        match result {
            Ok(()) => {
                out.lines.push(line);
                out.offsets.push(offset);
            }
            Err(reason) => {
                let excerpt = redact(&String::from_utf8_lossy(content.get(..400).unwrap_or(content)));
                out.bad.push(BadLine { line, offset, reason, excerpt });
            }
        }
        offset += bytes.len() as u64;
        line += 1;
    }
}

/// Returns the start of a line with digits and long tokens blanked, so that no address, id or
/// password survives in the rejects.
pub(crate) fn redact(text: &str) -> String {
    let mut out = String::with_capacity(EXCERPT_CHARS);
    let mut run = 0usize;
    for c in text.chars().take(EXCERPT_CHARS) {
        run = if c.is_alphanumeric() { run + 1 } else { 0 };
        out.push(match c {
            _ if run > 12 => '·',
            '0'..='9' => '#',
            c if c.is_control() || c == '\u{fffd}' => '·',
            c => c,
        });
    }
    out
}
