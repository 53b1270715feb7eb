//! Programs with which members watch, and networks in which they do: what comes from elsewhere is foreign.

use std::collections::HashSet;

use arrow::array::{Array, AsArray};
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use fishweir_engine::hash64;
use fishweir_pipeline::{Catalog, DAY_US, Interval, PipelineError};

use crate::live_marks::{JA4, MarkKey, NETWORK};
use crate::series::between_sql;

pub(crate) const DAYS: &str = "account_days";
/// Days before that are looked at.
const SEEN_DAYS: i64 = 8;
/// Days that are told in one pass: with those before them they are bits of a number.
const DAYS_AT_ONCE: usize = 48;
/// Kinds of rows.
const PROGRAMS: i64 = 0;
const NETWORKS: i64 = 1;
const MEMBERS: i64 = 2;
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
    Ok(load_days(catalog, Interval::new(day_us, day_us + 1)).await?.pop().flatten())
}

/// Returns the homes of the days before each day of a span, in order; `None` where nobody is known to have watched with an
/// account.
///
/// # Errors
/// A table that cannot be read.
pub(crate) async fn load_days(
    catalog: &Catalog,
    span: Interval,
) -> Result<Vec<Option<Homes>>, PipelineError> {
    let first = span.from_us.div_euclid(DAY_US);
    let days: Vec<i64> =
        (first..span.to_us.div_euclid(DAY_US) + i64::from(span.to_us % DAY_US != 0)).collect();
    if catalog.lake().existing(DAYS).await?.is_none() {
        return Ok(vec![None; days.len()]);
    }
    let mut out = Vec::with_capacity(days.len());
    for some in days.chunks(DAYS_AT_ONCE) {
        let sql = days_sql(some[0], some.len());
        let mut told = Told { members: vec![0; some.len()], ..Told::default() };
        for batch in catalog.query(&[DAYS], &sql).await? {
            told.read(&batch);
        }
        out.extend((0..some.len()).map(|d| told.homes(d)));
    }
    Ok(out)
}

// Rows of three kinds with a key and the accounts that watched before each of some days: programs by their hash, networks, and
// one row of all. WHY bits: accounts before each day must be told apart, and a set of them for each of many days costs far more
// than one pass that remembers on which days an account was there.
fn days_sql(first_day: i64, days: usize) -> String {
    let from_day = first_day - SEEN_DAYS;
    let until_day = first_day + i64::try_from(days).unwrap_or(0) - 1;
    let window = (1_i64 << SEEN_DAYS) - 1;
    let columns = |of: &dyn Fn(i64) -> String| -> String {
        (0..days).map(|d| format!(", {} AS w_{d}", of(window << d))).collect()
    };
    let counts = columns(&|mask| format!("count(*) FILTER (WHERE days & {mask} <> 0)"));
    let any = columns(&|mask| format!("CASE WHEN days & {mask} <> 0 THEN 1 ELSE 0 END"));
    let watched = format!(
        "(SELECT ja4, asn, account, 1 << (CAST(floor(CAST(day AS BIGINT) / {DAY_US}) AS BIGINT) - {from_day}) AS bit FROM {DAYS}
          WHERE {} AND licences > 0)",
        between_sql("day", Interval::new(from_day * DAY_US, until_day * DAY_US))
    );
    format!(
        "SELECT {PROGRAMS} AS kind, key{counts} FROM (
           SELECT hash64(ja4) AS key, account, bit_or(bit) AS days FROM {watched} w WHERE ja4 <> '' GROUP BY 1, 2
         ) programs GROUP BY key
         UNION ALL SELECT {NETWORKS} AS kind, key{any} FROM (
           SELECT asn AS key, bit_or(bit) AS days FROM {watched} w GROUP BY 1
         ) networks
         UNION ALL SELECT {MEMBERS} AS kind, CAST(0 AS BIGINT) AS key{counts} FROM (
           SELECT account, bit_or(bit) AS days FROM {watched} w GROUP BY 1
         ) members"
    )
}

/// Accounts that watched before each of some days.
#[derive(Default)]
struct Told {
    programs: Vec<(i64, Vec<i64>)>,
    networks: Vec<(i64, Vec<i64>)>,
    members: Vec<i64>,
}

impl Told {
    fn read(&mut self, batch: &RecordBatch) {
        let column = |c: usize| batch.column(c).as_primitive::<Int64Type>();
        for r in 0..batch.num_rows() {
            let counts: Vec<i64> = (2..batch.num_columns()).map(|c| column(c).value(r)).collect();
            let key = if column(1).is_valid(r) { column(1).value(r) } else { -1 };
            match column(0).value(r) {
                PROGRAMS => self.programs.push((key, counts)),
                NETWORKS => self.networks.push((key, counts)),
                _ => self.members = counts,
            }
        }
    }

    fn homes(&self, day: usize) -> Option<Homes> {
        let of_members = |n: &&(i64, Vec<i64>)| n.1[day] > 0 && is_of_members(n.1[day], self.members[day]);
        let programs = self.programs.iter().filter(of_members).map(|p| (JA4, p.0));
        let networks = self.networks.iter().filter(|n| n.1[day] > 0).map(|n| (NETWORK, n.0));
        let out = Homes(programs.chain(networks).collect());
        (!out.0.is_empty()).then_some(out)
    }
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
