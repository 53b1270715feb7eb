//! Titles, how popular they are, and how a new one rises and fades.

use crate::random::{Key, Purpose};

/// Hours of a rank per half-year, in millions: the stretched-exponential rank-size fit
/// `(7.498 − 0.7307 ln r)^(1/0.30)`, floor 0.02.
pub(crate) fn hours_of_rank(rank: u32) -> f64 {
    let base = 7.498 - 0.7307 * libm::log(f64::from(rank.max(1)));
    if base <= 0.0 { 0.02 } else { libm::pow(base, 1.0 / 0.30).max(0.02) }
}

/// A catalogue from which titles are drawn by popularity.
#[derive(Clone, Debug)]
pub(crate) struct Catalogue {
    cdf: Vec<f64>,
    order: Vec<u32>,
}

/// Share of a title's first-week demand by week after launch; after week 2 the half-life is 7.75
/// days.
pub(crate) fn launch_decay(days: f64) -> f64 {
    if days < 0.0 {
        0.0
    } else if days < 14.0 {
        1.0 - 0.25 * days / 14.0
    } else {
        0.75 * libm::pow(0.5, (days - 14.0) / 7.75)
    }
}

impl Catalogue {
    pub(crate) fn new(key: Key, titles: u32) -> Self {
        let mut sum = 0.0;
        let cdf = (1..=titles)
            .map(|r| {
                sum += hours_of_rank(r);
                sum
            })
            .collect();
        // Ranks are dealt to title numbers by a keyed shuffle, so a number tells nothing.
        let mut order: Vec<u32> = (0..titles).collect();
        let mut d = key.draws(0, 0, Purpose::Title, 0);
        for i in (1..order.len()).rev() {
            order.swap(i, d.below(i as u64 + 1) as usize);
        }
        Self { cdf, order }
    }

    pub(crate) fn len(&self) -> u32 {
        self.order.len() as u32
    }

    /// Title for a uniform number.
    pub(crate) fn title(&self, u: f64) -> u32 {
        let total = self.cdf.last().copied().unwrap_or(1.0);
        let rank = self.cdf.partition_point(|c| *c < u * total);
        self.order.get(rank).copied().unwrap_or(0)
    }

    /// Title of a rank from 0.
    pub(crate) fn of_rank(&self, rank: u32) -> u32 {
        self.order.get(rank as usize).copied().unwrap_or(0)
    }

    /// Series go on to a next episode; films do not.
    pub(crate) fn is_series(title: u32) -> bool {
        title % 10 < 6
    }
}
