//! Strangers of the last minute: how many they are says more than how much they ask.

use std::collections::{HashSet, VecDeque};

/// Requests that are remembered: more of them in a minute need no second look.
const REQUESTS_MAX: usize = 1_024;

/// The newest requests of strangers: second, client, whether it is foreign.
#[derive(Debug, Default)]
pub(super) struct Arrivals(VecDeque<(i64, i64, bool)>);

/// Clients of some seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Came {
    pub(super) strangers: usize,
    pub(super) foreign: usize,
}

impl Arrivals {
    /// Takes a request of a client in a second; forgets what is a minute older.
    pub(super) fn add(&mut self, second: i64, client: i64, foreign: bool) {
        while self.0.front().is_some_and(|(s, ..)| *s <= second - 60) || self.0.len() >= REQUESTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back((second, client, foreign));
    }

    /// Returns how many clients came in the seconds from one to before another.
    pub(super) fn clients(&self, from: i64, to: i64) -> Came {
        let inside = || self.0.iter().filter(|(s, ..)| (from..to).contains(s));
        let distinct = |all: HashSet<i64>| all.len();
        Came {
            strangers: distinct(inside().map(|(_, client, _)| *client).collect()),
            foreign: distinct(inside().filter(|one| one.2).map(|(_, client, _)| *client).collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_of_the_last_seconds_counts_once() {
        let mut all = Arrivals::default();
        for (second, client, foreign) in [(100, 1, true), (100, 1, true), (105, 2, false), (150, 3, true)] {
            all.add(second, client, foreign);
        }
        let of = |from, to| {
            let came = all.clients(from, to);
            (came.strangers, came.foreign)
        };
        assert_eq!([of(91, 151), of(141, 151), of(91, 150)], [(3, 2), (1, 1), (2, 1)]);
        all.add(161, 4, false);
        assert_eq!(all.clients(0, 200), Came { strangers: 3, foreign: 1 }, "the first is a minute old");
        (0..2_048).for_each(|c| all.add(161, c, false));
        assert_eq!(all.clients(0, 200).strangers, REQUESTS_MAX);
    }
}
