//! Query sessions over the lake and the aggregate functions that make rollups mergeable.
//!
//! [`Engine`] hands out DataFusion sessions; nothing outside this crate knows which engine
//! runs. [`PinnedTable`] scans one version of one Delta table. The sketch functions
//! (`hll`, `theta`, `kll`, `top_k` with their merge, count and bound forms) are registered on
//! every session.

mod accumulate;
mod compact;
mod functions;
mod habits;
mod hash;
mod pinned;
mod session;
mod sketch;

pub use functions::{aggregate_functions, scalar_functions};
pub use hash::{hash_function, hash64};
pub use pinned::{PinnedFile, PinnedTable, PinnedTableError, TimeFilter};
pub use session::{Engine, EngineConfig, EngineError};
pub use sketch::{GroupSketch, Hll, Kll, SketchError, Theta, TopK, Value};

#[cfg(test)]
mod tests;
