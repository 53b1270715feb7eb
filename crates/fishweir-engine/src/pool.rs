//! Who of those that share the memory of an engine may hold how much.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use datafusion::common::resources_datafusion_err;
use datafusion::error::Result;
use datafusion::execution::memory_pool::{
    MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation, human_readable_size,
};

/// Memory of which one half is given to whoever asks first and the other is kept in equal parts for all that can spill.
///
/// WHY not equal parts alone: an operator registers when its plan begins and may wait long for its input. With two dozen of them
/// each would spill beyond a twenty-fourth of the memory while nearly all of it lies idle.
#[derive(Debug)]
pub(crate) struct HalfFairPool {
    bytes: usize,
    state: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// Holders that can spill.
    spillers: usize,
    spillable: usize,
    unspillable: usize,
}

impl HalfFairPool {
    /// Returns a pool of so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self { bytes, state: Mutex::new(Held::default()) }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    // INVARIANT: while what cannot spill stays as it is, spillers hold no more than it leaves them: above the half nobody grows
    // beyond its own part. Who holds the half has no part beside it: hash tables that cannot spill need what nobody uses.
    fn room(&self, held: &Held, reservation: &MemoryReservation) -> usize {
        if !can_spill(reservation) {
            return self.bytes.saturating_sub(held.unspillable + held.spillable);
        }
        let half = self.bytes.saturating_sub(held.unspillable) / 2;
        let own = (half / held.spillers.max(1)).saturating_sub(reservation.size());
        own.max(half.saturating_sub(held.spillable))
    }
}

fn can_spill(reservation: &MemoryReservation) -> bool {
    reservation.consumer().can_spill()
}

impl Held {
    fn of(&mut self, reservation: &MemoryReservation) -> &mut usize {
        if can_spill(reservation) { &mut self.spillable } else { &mut self.unspillable }
    }
}

impl MemoryPool for HalfFairPool {
    fn name(&self) -> &str {
        "half fair"
    }

    fn register(&self, consumer: &MemoryConsumer) {
        self.held().spillers += usize::from(consumer.can_spill());
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        let mut held = self.held();
        held.spillers = held.spillers.saturating_sub(usize::from(consumer.can_spill()));
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        *self.held().of(reservation) += additional;
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let mut held = self.held();
        let part = held.of(reservation);
        *part = part.saturating_sub(shrink);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let mut held = self.held();
        let room = self.room(&held, reservation);
        if additional > room {
            let readable = human_readable_size;
            return Err(resources_datafusion_err!(
                "{} asks for {} beside its {}, and {} of {} are free for it",
                reservation.consumer().name(),
                readable(additional),
                readable(reservation.size()),
                readable(room),
                readable(self.bytes)
            ));
        }
        *held.of(reservation) += additional;
        Ok(())
    }

    fn reserved(&self) -> usize {
        let held = self.held();
        held.spillable + held.unspillable
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.bytes)
    }
}

impl fmt::Display for HalfFairPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name(), human_readable_size(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn pool(bytes: usize) -> Arc<dyn MemoryPool> {
        Arc::new(HalfFairPool::new(bytes))
    }

    fn spiller(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        MemoryConsumer::new("spiller").with_can_spill(true).register(pool)
    }

    #[test]
    fn half_is_for_whoever_comes_first_and_everybody_has_a_part() {
        let pool = pool(1_000);
        let all: Vec<_> = (0..10).map(|_| spiller(&pool)).collect();
        assert!(all[0].try_grow(500).is_ok(), "nobody else wants it");
        assert!(all[0].try_grow(1).is_err(), "the rest is the part of others");
        for other in &all[1..] {
            assert!(other.try_grow(50).is_ok() && other.try_grow(1).is_err());
        }
        assert!(pool.reserved() <= 1_000);
        all[0].free();
        assert!(all[1].try_grow(50).is_ok(), "what is given back is for whoever comes first");
    }

    #[test]
    fn who_cannot_spill_takes_what_is_free_and_leaves_less_to_the_others() {
        let pool = pool(1_000);
        let (fixed, one) = (MemoryConsumer::new("fixed").register(&pool), spiller(&pool));
        assert!(fixed.try_grow(600).is_ok());
        assert!(one.try_grow(200).is_ok() && one.try_grow(1).is_err());
        assert!(fixed.try_grow(201).is_err() && fixed.try_grow(200).is_ok());
        drop((fixed, one));
        assert_eq!(pool.reserved(), 0);
    }
}
