//! Programs with which members watch, and networks in which they do: what comes from elsewhere is foreign.

use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use fishweir_engine::hash64;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError};

use crate::live_marks::{JA4, MarkKey, NETWORK};
use crate::series::{between_sql, words};

pub(crate) const DAYS: &str = "account_days";
/// Days before that are looked at.
const SEEN_DAYS: i64 = 8;
/// One of so many accounts that watched must have watched with a program for it to be one of members: thieves who hold a few
/// accounts watch with their tools.
const ACCOUNTS_PER_PROGRAM: i64 = 400;

/// Fingerprints of more than a few who were granted a licence, and networks of any who were.
#[derive(Clone, Debug, Default)]
pub(crate) struct Homes(HashSet<MarkKey>);

impl Homes {
    /// Returns whether hardly any member has such a program, or nobody watches in such a network; what is unknown of a
    /// request is not held against it.
    pub(crate) fn is_foreign(&self, ja4: Option<i64>, network: i64) -> bool {
        ja4.is_some_and(|j| !self.0.contains(&(JA4, j)))
            || (network >= 0 && !self.0.contains(&(NETWORK, network)))
    }

    /// Returns whether members have a program.
    pub(crate) fn has_program(&self, ja4: i64) -> bool {
        self.0.contains(&(JA4, ja4))
    }

    /// Returns the fingerprints of the programs that members have, in no order.
    pub(crate) fn programs(&self) -> impl Iterator<Item = i64> {
        self.0.iter().filter(|key| key.0 == JA4).map(|key| key.1)
    }

    /// Takes a pair for one that members have.
    pub(crate) fn add(&mut self, ja4: Option<i64>, network: i64) {
        self.0.extend(ja4.map(|j| (JA4, j)));
        self.0.insert((NETWORK, network));
    }
}

/// Returns the requests of foreign strangers a minute, as far as the series of fingerprints and networks tell: a request
/// is in one of each kind, so the larger sum stands for both. Empty where there are none.
pub(crate) fn foreign_series(homes: &Homes, marks: &[(MarkKey, Vec<f64>)]) -> Vec<f64> {
    let of = |kind: u8| -> Vec<f64> {
        let unknown = [(JA4, hash64("")), (NETWORK, -1)];
        let foreign =
            marks.iter().filter(|(key, _)| key.0 == kind && !homes.0.contains(key) && !unknown.contains(key));
        foreign.fold(Vec::new(), |mut sum, (_, counts)| {
            sum.resize(counts.len(), 0.0);
            sum.iter_mut().zip(counts).for_each(|(s, k)| *s += k);
            sum
        })
    };
    let (ja4, network) = (of(JA4), of(NETWORK));
    match (ja4.is_empty(), network.is_empty()) {
        (_, true) => ja4,
        (true, _) => network,
        _ => ja4.iter().zip(&network).map(|(a, b)| if a > b { *a } else { *b }).collect(),
    }
}

// Whether a program with which so many of the accounts that watched did is one of members.
fn is_of_members(accounts: i64, watched: i64) -> bool {
    accounts * ACCOUNTS_PER_PROGRAM >= watched
}

/// Returns the homes of the days before one; `None` where nobody is known to have watched with an account.
///
/// # Errors
/// A table that cannot be read.
pub(crate) async fn load(catalog: &Catalog, day_us: i64) -> Result<Option<Homes>, PipelineError> {
    if catalog.lake().existing(DAYS).await?.is_none() {
        return Ok(None);
    }
    let sql = format!(
        "WITH watched AS (
           SELECT ja4, asn, account FROM {DAYS} WHERE {} AND licences > 0
         ), members AS (
           SELECT count(DISTINCT account) AS members FROM watched
         ), homes AS (
           SELECT ja4, CAST(NULL AS BIGINT) AS asn, count(DISTINCT account) AS accounts FROM watched GROUP BY 1
           UNION ALL SELECT CAST(NULL AS VARCHAR) AS ja4, asn, count(DISTINCT account) AS accounts FROM watched GROUP BY 2
         )
         SELECT ja4, asn, accounts, members FROM homes CROSS JOIN members",
        between_sql("day", Interval::new(day_us - SEEN_DAYS * DAY_US, day_us))
    );
    let mut out = Homes::default();
    for batch in catalog.query(&[DAYS], &sql).await? {
        let (ja4, asn) = (words(&batch, 0), batch.column(1).as_primitive::<Int64Type>());
        let count = |c: usize, r: usize| batch.column(c).as_primitive::<Int64Type>().value(r);
        for (r, ja4) in ja4.iter().enumerate() {
            let network = if asn.is_valid(r) { asn.value(r) } else { -1 };
            let program = !ja4.is_empty() && is_of_members(count(2, r), count(3, r));
            out.add(program.then(|| hash64(ja4)), network);
        }
    }
    Ok((!out.0.is_empty()).then_some(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tool_with_which_thieves_of_a_few_accounts_watch_is_none_of_members() {
        assert!(is_of_members(12, 2_000) && !is_of_members(4, 2_000));
        assert!(is_of_members(1, 300), "of a small service every program counts");
    }

    #[test]
    fn what_is_unknown_is_not_foreign() {
        let mut homes = Homes::default();
        homes.add(Some(1), 10);
        assert!(!homes.is_foreign(Some(1), 10));
        assert!(!homes.is_foreign(None, -1));
        assert!(homes.is_foreign(Some(2), 10), "nobody has this program");
        assert!(homes.is_foreign(Some(1), 11), "nobody watches there");
    }

    #[test]
    fn a_request_counts_once_whether_its_program_or_its_network_is_foreign() {
        let mut homes = Homes::default();
        homes.add(Some(1), 10);
        let marks = vec![
            ((JA4, 1), vec![5.0, 5.0, f64::NAN]),
            ((JA4, 2), vec![1.0, 3.0, f64::NAN]),
            ((JA4, hash64("")), vec![9.0, 9.0, f64::NAN]),
            ((NETWORK, 11), vec![2.0, 2.0, f64::NAN]),
            ((NETWORK, -1), vec![9.0, 9.0, f64::NAN]),
        ];
        let foreign = foreign_series(&homes, &marks);
        assert_eq!(&foreign[..2], [2.0, 3.0]);
        assert!(foreign[2].is_nan(), "no data is not nobody");
        assert!(foreign_series(&homes, &marks[..1]).is_empty());
    }
}
