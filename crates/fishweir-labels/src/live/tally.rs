//! Requests by client, for as many clients as there is memory for.

use std::collections::HashMap;

/// Requests of each client.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally(HashMap<i64, u32>);

impl Tally {
    /// Counts requests of a client; beyond `most` clients no new one is taken.
    pub(super) fn add(&mut self, client: i64, n: u32, most: usize) {
        if self.0.len() < most || self.0.contains_key(&client) {
            *self.0.entry(client).or_default() += n;
        }
    }

    /// Takes back a request; a client without any is no longer counted.
    pub(super) fn take(&mut self, client: i64) {
        if let Some(n) = self.0.get_mut(&client) {
            *n = n.saturating_sub(1);
            if *n == 0 {
                self.0.remove(&client);
            }
        }
    }

    /// Adds all of another tally.
    pub(super) fn merge(&mut self, other: &Self, most: usize) {
        other.0.iter().for_each(|(client, n)| self.add(*client, *n, most));
    }

    /// Returns the number of clients.
    #[expect(clippy::cast_precision_loss, reason = "clients")]
    pub(super) fn clients(&self) -> f64 {
        self.0.len() as f64
    }

    /// Returns the requests of the busiest client; `None` without any.
    pub(super) fn busiest(&self) -> Option<f64> {
        self.0.values().copied().max().map(f64::from)
    }

    /// Returns whether nobody was counted.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_back_was_never_there_and_memory_is_bounded() {
        let mut t = Tally::default();
        (0..5).for_each(|c| t.add(c, 2, 3));
        assert_eq!((t.clients(), t.busiest()), (3.0, Some(2.0)), "two came too late");
        t.take(1);
        t.take(1);
        t.take(9);
        assert!((t.clients() - 2.0).abs() < 1e-12);
        let mut both = Tally::default();
        both.merge(&t, 10);
        both.merge(&t, 10);
        assert_eq!((both.clients(), both.busiest()), (2.0, Some(4.0)));
        assert!(Tally::default().is_empty() && Tally::default().busiest().is_none());
    }
}
