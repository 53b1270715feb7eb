//! Foreign clients of the last minute: how many they are says more than how much they ask.

use std::collections::{HashSet, VecDeque};

/// Requests that are remembered: more of them in a minute need no second look.
const REQUESTS_MAX: usize = 1_024;

/// The newest requests of foreign clients.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<(i64, i64)>);

impl Arrivals {
    /// Takes a request of a client in a second; forgets what is a minute older.
    pub(super) fn add(&mut self, second: i64, client: i64) {
        while self.0.front().is_some_and(|(s, _)| *s <= second - 60) || self.0.len() >= REQUESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((second, client));
    }

    /// Returns how many clients came in the seconds from one to before another.
    pub(super) fn clients(&self, from: i64, to: i64) -> usize {
        let inside = self.0.iter().filter(|(s, _)| (from..to).contains(s));
        inside.map(|(_, client)| client).collect::<HashSet<_>>().len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_of_the_last_seconds_counts_once() {
        let mut all = Arrivals::default();
        for (second, client) in [(100, 1), (100, 1), (105, 2), (150, 3)] {
            all.add(second, client);
        }
        assert_eq!([all.clients(91, 151), all.clients(141, 151), all.clients(91, 150)], [3, 1, 2]);
        all.add(161, 4);
        assert_eq!(all.clients(0, 200), 3, "the first is a minute old");
        (0..2 * REQUESTS_MAX as i64).for_each(|c| all.add(161, c));
        assert_eq!(all.clients(0, 200), REQUESTS_MAX);
    }
}
