//! Lines that arrive one by one, made canonical without being stored.

use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use fishweir_events::Stream;

use super::parser::Parser;
use super::{Ingest, Shared};
use crate::chunks::{Chunk, count_lines};
use crate::decode::Decoder;
use crate::ledger::Identity;
use crate::mapping::{MappingError, referenced_fields};

/// Parser of a stream of lines by the rules of a source.
pub struct Lines {
    parser: Parser,
    offset: u64,
    line: u64,
}

/// What some lines were.
#[derive(Debug, Default)]
pub struct Parsed {
    /// Canonical rows, in order; the columns of the stream.
    pub batches: Vec<RecordBatch>,
    /// Refused lines: number from 1, and why.
    pub rejects: Vec<(u64, String)>,
}

impl Lines {
    /// Returns a parser with the source, pseudonyms, routes and networks of an ingest.
    ///
    /// # Errors
    /// A mapping that cannot be compiled.
    pub fn new(ingest: &Ingest, stream: Stream) -> Result<Self, MappingError> {
        let shared: &Arc<Shared> = &ingest.shared;
        let format = shared.source.format;
        let wanted = referenced_fields(&shared.source, stream);
        let decoder = Decoder::new(Arc::clone(&shared.source), format, wanted);
        let identity =
            Identity { file_id: "live".to_owned(), head_bytes: 0, head_hash: String::new(), done: 0 };
        Ok(Self { parser: Parser::new(shared, stream, decoder, format, &identity)?, offset: 0, line: 1 })
    }

    /// Returns the rows of whole lines, each with its line end.
    pub fn parse(&mut self, bytes: Vec<u8>) -> Parsed {
        let (length, lines) = (bytes.len() as u64, count_lines(&bytes));
        let chunk =
            Chunk { bytes, offset: self.offset, line: self.line, oversize: Vec::new(), terminated: true };
        self.offset += length;
        self.line += lines;
        let piece = self.parser.parse(&chunk, 1);
        let rejects = piece.rejects.into_iter().map(|r| (r.line, r.reason)).collect();
        Parsed { batches: piece.batches, rejects }
    }
}
