//! Tables of the lake: exactly-once append, atomic replace of intervals, deletion, compaction.
//!
//! A table is a Delta table without partition folders: every data file carries the range of its
//! time column in its statistics, so replacing or deleting an interval touches the log and the
//! few files that straddle its borders. All writing of the project goes through [`Table`].

mod error;
mod files;
mod lake;
mod table;

pub use error::LakeError;
pub use files::{DataFile, TimeStats};
pub use lake::{Lake, storage_options_from};
pub use table::{Append, BatchStream, Change, Commit, Table, TableSpec};

#[cfg(test)]
mod tests;
