//! The memory pool of the engine: the fair pool, in which what goes from one operator to the next is
//! counted but never refused.

use std::fmt;

use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation};

/// What the exchange between partitions calls its buffers, and those with which it merges.
const EXCHANGE: &str = "RepartitionExec[";
const EXCHANGE_MERGE: &str = "RepartitionExec[Merge ";

/// Grants the buffers of an exchange whatever they ask for, and asks the inner pool for the rest.
///
/// WHY: an exchange that is refused memory writes batches to files, and in DataFusion up to 55.2 a reader
/// whose two writers do so at once may wait for the wrong file for ever (its pull request 24891): the
/// query neither ends nor fails. Its buffers hold what readers are behind by, which the pool counts; what
/// grows with the data (aggregates, sorts, joins) is limited as before.
#[derive(Debug)]
pub(crate) struct ExchangeNeverSpills<P> {
    inner: P,
}

impl<P> ExchangeNeverSpills<P> {
    pub(crate) fn new(inner: P) -> Self {
        Self { inner }
    }
}

impl<P: MemoryPool> fmt::Display for ExchangeNeverSpills<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.inner, f)
    }
}

impl<P: MemoryPool> MemoryPool for ExchangeNeverSpills<P> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.inner.register(consumer);
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.inner.unregister(consumer);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        self.inner.grow(reservation, additional);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        self.inner.shrink(reservation, shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let name = reservation.consumer().name();
        if name.starts_with(EXCHANGE) && !name.starts_with(EXCHANGE_MERGE) {
            self.inner.grow(reservation, additional);
            return Ok(());
        }
        self.inner.try_grow(reservation, additional)
    }

    fn reserved(&self) -> usize {
        self.inner.reserved()
    }

    fn memory_limit(&self) -> MemoryLimit {
        self.inner.memory_limit()
    }
}
