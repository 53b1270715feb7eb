//! From chunks and record batches to rows ready to be committed.

use std::sync::Arc;

use arrow::array::{Array as _, ArrayRef, AsArray as _};
use arrow::datatypes::DataType;
use fishweir_events::{CanonicalRules, Memory, Stream, utc_microseconds};

use super::{Piece, Shared};
use crate::chunks::{Chunk, count_lines};
use crate::decode::{BadLine, Decoded, Decoder, redact};
use crate::ledger::Identity;
use crate::mapping::{Mapping, MappingError, referenced_fields};
use crate::source::Format;

/// Turns chunks of one file into pieces.
pub(crate) struct Parser {
    shared: Arc<Shared>,
    stream: Stream,
    decoder: Option<Decoder>,
    parallel: bool,
    mapping: Mapping,
    file_id: String,
    memory: std::sync::Mutex<Vec<Memory>>,
}

impl Parser {
    pub(crate) fn new(
        shared: &Arc<Shared>,
        stream: Stream,
        decoder: Decoder,
        format: Format,
        identity: &Identity,
    ) -> Result<Self, MappingError> {
        let names: Vec<String> = match format {
            Format::AccessLog => crate::access_log::FIELDS.iter().map(ToString::to_string).collect(),
            Format::Csv => decoder.columns().unwrap_or_default(),
            _ => referenced_fields(&shared.source, stream),
        };
        let kind = |n: &String| {
            let timed = format == Format::AccessLog && n == "time";
            if timed { utc_microseconds() } else { DataType::Utf8View }
        };
        let fields: Vec<_> = names.iter().map(|n| (n.clone(), kind(n))).collect();
        let mut parser = Self::with_fields(shared, stream, identity, &fields)?;
        parser.decoder = Some(decoder);
        parser.parallel = format != Format::Csv;
        Ok(parser)
    }

    pub(super) fn with_fields(
        shared: &Arc<Shared>,
        stream: Stream,
        identity: &Identity,
        fields: &[(String, DataType)],
    ) -> Result<Self, MappingError> {
        Ok(Self {
            shared: Arc::clone(shared),
            stream,
            decoder: None,
            parallel: false,
            mapping: Mapping::new(&shared.source, fields)?,
            file_id: identity.file_id.clone(),
            memory: std::sync::Mutex::default(),
        })
    }

    pub(super) fn parse(&self, chunk: &Chunk, threads: usize) -> Piece {
        let parts = if self.parallel { split(chunk, threads) } else { vec![chunk.clone()] };
        let mut pieces: Vec<Piece> = Vec::with_capacity(parts.len());
        std::thread::scope(|scope| {
            let running: Vec<_> = parts.iter().map(|p| scope.spawn(|| self.part(p))).collect();
            for handle in running {
                if let Ok(piece) = handle.join() {
                    pieces.push(piece);
                }
            }
        });
        let mut whole = Piece::default();
        pieces.into_iter().for_each(|p| whole.join(p));
        whole
    }

    fn part(&self, chunk: &Chunk) -> Piece {
        self.part_of(chunk, &self.file_id)
    }

    /// Returns the rows of a chunk that belongs to another input than the parser was made for.
    pub(crate) fn part_of(&self, chunk: &Chunk, file_id: &str) -> Piece {
        let Some(decoder) = &self.decoder else { return Piece::default() };
        let decoded = decoder.decode(chunk);
        let end = decoded.unfinished.unwrap_or_else(|| chunk.end());
        let mut piece = self.rows_of(decoded, file_id);
        piece.end = end;
        piece
    }

    pub(super) fn rows(&self, decoded: Decoded) -> Piece {
        self.rows_of(decoded, &self.file_id)
    }

    fn rows_of(&self, decoded: Decoded, file_id: &str) -> Piece {
        let s = &self.shared;
        let n = decoded.offsets.len();
        let mut piece = Piece { rejects: decoded.bad, rows: decoded.rows, ..Piece::default() };
        let (mapped, failed) = self.mapping.apply(&decoded.fields, n);
        let rules = CanonicalRules {
            stream: self.stream,
            source: &s.source.name,
            service: &s.source.service,
            time_min_us: s.config.time_min_us,
            time_max_us: s.config.time_max_us,
            ingested_at_us: (s.now_us)(),
            ids_are_pseudonyms: s.source.ids_are_pseudonyms,
            pseudonyms: &s.pseudonyms,
            routes: &s.routes,
            agents: &s.agents,
            networks: &s.networks,
        };
        let place = |row: usize| {
            (decoded.offsets.get(row).copied().unwrap_or(0), decoded.lines.get(row).copied().unwrap_or(0))
        };
        let id = |row: usize, out: &mut String| {
            use std::fmt::Write as _;
            let _ = write!(out, "{file_id}-{:010x}", place(row).0);
        };
        let refuse = |row: usize, reason: String| {
            let (offset, line) = place(row);
            BadLine { line, offset, reason, excerpt: excerpt(&decoded.fields, row) }
        };
        let mut memory = self.memory.lock().ok().and_then(|mut m| m.pop()).unwrap_or_default();
        let applied = rules.apply(&mapped, &mut memory, &id);
        if let Ok(mut pool) = self.memory.lock() {
            pool.push(memory);
        }
        match applied {
            Ok(canonical) => {
                for r in canonical.rejects {
                    let mapped = failed.iter().find(|(row, _)| *row == r.row);
                    let reason = mapped.map_or(r.reason, |(_, why)| why.clone());
                    piece.rejects.push(refuse(r.row, reason));
                }
                piece.own_ids = canonical.own_ids;
                piece.batches.push(canonical.batch);
            }
            Err(e) => piece.rejects.extend((0..n).map(|row| refuse(row, e.to_string()))),
        }
        piece.rejects.sort_by_key(|r| r.offset);
        piece
    }
}

fn excerpt(fields: &[(String, ArrayRef)], row: usize) -> String {
    let shown = fields.iter().filter_map(|(name, a)| {
        let one = arrow::compute::cast(&a.slice(row, 1), &DataType::Utf8).ok()?;
        let text = one.as_string::<i32>();
        text.is_valid(0).then(|| format!("{name}={}", text.value(0)))
    });
    redact(&shown.collect::<Vec<_>>().join(" "))
}

fn split(chunk: &Chunk, parts: usize) -> Vec<Chunk> {
    let target = chunk.bytes.len() / parts.max(1);
    if parts < 2 || target < 1 << 16 {
        return vec![chunk.clone()];
    }
    let mut out = Vec::with_capacity(parts);
    let (mut from, mut line) = (0, chunk.line);
    for part in 1..=parts {
        let want = if part == parts { chunk.bytes.len() } else { (target * part).max(from) };
        let cut = match chunk.bytes.get(want..).and_then(|r| r.iter().position(|b| *b == b'\n')) {
            Some(i) if part < parts => want + i + 1,
            _ => chunk.bytes.len(),
        };
        if cut == from {
            continue;
        }
        let bytes = chunk.bytes.get(from..cut).unwrap_or_default().to_vec();
        let lines = count_lines(&bytes);
        let last = cut == chunk.bytes.len();
        out.push(Chunk {
            bytes,
            offset: chunk.offset + from as u64,
            line,
            oversize: if last { chunk.oversize.clone() } else { Vec::new() },
            terminated: !last || chunk.terminated,
        });
        from = cut;
        line += lines;
    }
    out
}

// `status: `abc` is not a whole number` counts under one reason whatever the value was.
pub(super) fn generalise(reason: &str) -> String {
    let mut out = String::new();
    for (i, part) in reason.split('`').enumerate() {
        out.push_str(if i % 2 == 1 { "…" } else { part });
    }
    let mut text: String = out.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect();
    while text.contains("##") {
        text = text.replace("##", "#");
    }
    text
}
