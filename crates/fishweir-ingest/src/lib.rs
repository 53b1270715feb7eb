//! From files to canonical rows in the lake, exactly once.
//!
//! A *source* says how a file is read ([`Source`]) and which expressions make the canonical
//! columns. [`Ingest`] finds out how much of each input is already in the lake, reads the rest in
//! bounded pieces, and commits every piece together with the position it reached.

mod access_log;
mod chunks;
mod decode;
mod dedup;
mod delivery;
mod input;
mod ledger;
mod mapping;
mod ndjson;
mod run;
mod source;
mod tables;

pub use chunks::{Chunk, ChunkReader, Oversize};
pub use delivery::{Delivered, Delivery, Door, Group, Refused, Taken};
pub use input::InputError;
pub use mapping::MappingError;
pub use run::{FileReport, FileStatus, Ingest, IngestConfig, IngestError, Lines, Parsed, Progress, Summary};
pub use source::{Format, Header, Source, SourceError, SourceStream};
pub use tables::{file_table, raw_table, reject_table};
