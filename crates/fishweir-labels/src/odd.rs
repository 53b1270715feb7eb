//! Machines that are odd on a day, and how many attempts of each program are.
//!
//! WHY not a query: each attempt is looked up in three tables that hold every use of six weeks. A join keeps
//! those rows whole and groups the attempts of a day several times; here a use is eight bytes, and each
//! row of a day is read once.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use arrow::record_batch::RecordBatch;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::prelude::SessionContext;
use fishweir_pipeline::{DAY_US, Interval, PipelineError, time_literal};
use futures::StreamExt;
use hashbrown::{HashMap, HashTable};

use crate::attempts::{DAYS, LOGINS, Names, tries};
use crate::live::{known_anywhere, known_key};

/// Room that a use takes, and a machine of the day, each with its mark in the table.
const USE_BYTES: usize = 10;
const MACHINE_BYTES: usize = 20;
const DAY_BITS: u32 = 16;

/// What a span says of machines and programs.
#[derive(Default)]
pub(crate) struct Odd {
    /// Machines and the days on which they were odd.
    pub(crate) machines: Vec<(i64, i64)>,
    /// Rows of each day (since 1970) and program, and how many of them are of odd machines.
    pub(crate) programs: BTreeMap<(i64, u32), (u64, u64)>,
}

/// First day of each pair or machine: 48 bits of its hash above sixteen of the day. Among ten million of them, one
/// lookup of thirty million finds another by chance.
#[derive(Default)]
struct FirstDays(HashTable<u64>);

impl FirstDays {
    // The upper bits are the hash already; spread, because the table reads the lowest and the highest.
    fn place(entry: &u64) -> u64 {
        (entry >> DAY_BITS).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn note(&mut self, key: u64, day: i64) {
        let day = u64::from(u16::try_from(day).unwrap_or(u16::MAX));
        let new = key >> DAY_BITS << DAY_BITS | day;
        let same = |old: &u64| old >> DAY_BITS == new >> DAY_BITS;
        self.0
            .entry(Self::place(&new), same, Self::place)
            .and_modify(|old| *old = new.min(*old))
            .or_insert(new);
    }

    fn first(&self, key: u64) -> Option<i64> {
        let found = self.0.find(Self::place(&key), |old| old >> DAY_BITS == key >> DAY_BITS);
        found.and_then(|entry| i64::try_from(entry & ((1 << DAY_BITS) - 1)).ok())
    }
}

// Which machine used which account, which account which network, and which machine watched anything.
#[derive(Default)]
struct Uses {
    known: FirstDays,
    home: FirstDays,
    watched: FirstDays,
}

impl Uses {
    fn ordinary(&self, account: Option<i64>, device: i64, asn: i64, day: i64) -> bool {
        let before = |table: &FirstDays, other: i64| {
            account.and_then(|a| table.first(known_key(a, other))).is_some_and(|first| first < day)
        };
        before(&self.known, device)
            || before(&self.home, asn)
            || self.watched.first(known_anywhere(device)).is_some_and(|first| first <= day + 1)
    }

    fn bytes(&self) -> usize {
        [&self.known, &self.home, &self.watched].iter().map(|t| t.0.capacity() * USE_BYTES).sum()
    }
}

// Rows of a query as they come, each batch with the memory that the reader took before the next.
async fn each(
    context: &SessionContext,
    sql: &str,
    taken: &MemoryReservation,
    mut read: impl FnMut(&RecordBatch) -> usize,
) -> Result<(), PipelineError> {
    let frame = context.sql(sql).await.map_err(PipelineError::query(sql))?;
    let mut batches = frame.execute_stream().await.map_err(PipelineError::query(sql))?;
    while let Some(batch) = batches.next().await {
        let bytes = read(&batch.map_err(PipelineError::query(sql))?);
        taken.try_resize(bytes).map_err(PipelineError::query(sql))?;
    }
    Ok(())
}

fn ints(batch: &RecordBatch, column: usize) -> &arrow::array::Int64Array {
    batch.column(column).as_primitive::<Int64Type>()
}

async fn uses(
    context: &SessionContext,
    span: Interval,
    known_from_us: i64,
    taken: &MemoryReservation,
) -> Result<Uses, PipelineError> {
    let sql = format!(
        "SELECT account, device, asn, CAST(floor(CAST(day AS BIGINT) / 86400000000) AS BIGINT) AS d, licences
         FROM {DAYS} WHERE day >= {} AND day < {}",
        time_literal(known_from_us),
        time_literal(span.to_us + DAY_US),
    );
    // What began on the last day is known on none.
    let last_day = (span.to_us - 1).div_euclid(DAY_US);
    let mut uses = Uses::default();
    each(context, &sql, taken, |batch| {
        let [account, device, asn, day, licences] = [0, 1, 2, 3, 4].map(|c| ints(batch, c));
        for r in 0..batch.num_rows() {
            let d = day.value(r);
            if d < last_day {
                uses.known.note(known_key(account.value(r), device.value(r)), d);
                uses.home.note(known_key(account.value(r), asn.value(r)), d);
            }
            if licences.value(r) > 0 {
                uses.watched.note(known_anywhere(device.value(r)), d);
            }
        }
        uses.bytes()
    })
    .await?;
    Ok(uses)
}

// Attempts of a day: of each machine how many and how many ordinary, and machine and program of each row.
#[derive(Default)]
struct Day {
    machine: HashMap<i64, u32>,
    counts: Vec<(u32, u32)>,
    rows: Vec<(u32, u32)>,
}

impl Day {
    fn add(&mut self, device: i64, ordinary: bool, program: u32) {
        let next = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
        let machine = *self.machine.entry(device).or_insert(next);
        if machine == next {
            self.counts.push((0, 0));
        }
        if let Some((n, usual)) = self.counts.get_mut(machine as usize) {
            *n += 1;
            *usual += u32::from(ordinary);
        }
        self.rows.push((machine, program));
    }

    fn bytes(&self) -> usize {
        self.machine.capacity() * MACHINE_BYTES + (self.counts.capacity() + self.rows.capacity()) * 8
    }

    fn finish(self, day: i64, out: &mut Odd) {
        let is_odd = |(n, usual): (u32, u32)| 2 * u64::from(usual) < u64::from(n);
        for (machine, program) in &self.rows {
            let count = out.programs.entry((day, *program)).or_default();
            count.0 += 1;
            count.1 += u64::from(self.counts.get(*machine as usize).is_some_and(|c| is_odd(*c)));
        }
        let odd =
            self.machine.iter().filter(|(_, m)| self.counts.get(**m as usize).is_some_and(|c| is_odd(*c)));
        out.machines.extend(odd.map(|(device, _)| (*device, day)));
    }
}

fn day_sql(day: i64, span: Interval) -> String {
    let within = Interval::new((day * DAY_US).max(span.from_us), ((day + 1) * DAY_US).min(span.to_us));
    format!(
        "SELECT account, device, asn, hash64(ja4) AS j, hash64(user_agent) AS u, ja4, user_agent FROM {LOGINS} WHERE {}",
        tries(within)
    )
}

// Programs by their hashes: a text is looked at when it is new.
#[derive(Default)]
struct Programs(HashMap<(i64, i64), u32>);

impl Programs {
    fn numbers(&mut self, batch: &RecordBatch, names: &mut Names) -> Vec<u32> {
        let text = |c: usize, r: usize| {
            let one = cast(&batch.column(c).slice(r, 1), &DataType::Utf8).ok();
            one.map(|t| t.as_string::<i32>().value(0).to_owned()).unwrap_or_default()
        };
        let (ja4, agent) = (ints(batch, 3), ints(batch, 4));
        let pairs = ja4.values().iter().zip(agent.values()).enumerate();
        pairs
            .map(|(r, (j, u))| {
                *self
                    .0
                    .entry((*j, *u))
                    .or_insert_with(|| names.number(&format!("{}|{}", text(5, r), text(6, r))))
            })
            .collect()
    }
}

/// Returns the machines and days of which most attempts are from machines that nobody knows, outside the
/// networks of the account, and on which hardly anybody watched afterwards; and the attempts of each
/// program. Days before `first_told` are left out: nobody is known on them.
///
/// # Errors
/// A table that cannot be read, or uses that do not fit into the memory limit.
pub(crate) async fn odd(
    context: &SessionContext,
    span: Interval,
    known_from_us: i64,
    first_told: i64,
    names: &mut Names,
) -> Result<Odd, PipelineError> {
    let pool = Arc::clone(&context.runtime_env().memory_pool);
    let taken = MemoryConsumer::new("login_campaigns").register(&pool);
    let uses = uses(context, span, known_from_us, &taken).await?;
    let (mut out, mut programs) = (Odd::default(), Programs::default());
    let of_day = MemoryConsumer::new("login_campaigns_day").register(&pool);
    for day in first_told.max(span.from_us.div_euclid(DAY_US))..=(span.to_us - 1).div_euclid(DAY_US) {
        let mut counted = Day::default();
        each(context, &day_sql(day, span), &of_day, |batch| {
            let numbers = programs.numbers(batch, names);
            let [account, device, asn] = [0, 1, 2].map(|c| ints(batch, c));
            for (r, program) in numbers.into_iter().enumerate() {
                let who = account.is_valid(r).then(|| account.value(r));
                let (device, asn) = (device.value(r), asn.value(r));
                counted.add(device, uses.ordinary(who, device, asn, day), program);
            }
            counted.bytes()
        })
        .await?;
        counted.finish(day, &mut out);
        of_day.free();
    }
    out.machines.sort_unstable();
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_day_of_each_use_is_kept() {
        let mut days = FirstDays::default();
        for k in 0..5_000_i64 {
            for day in [20_000 + k % 7, 19_990 + k % 11, 20_010] {
                days.note(known_key(k, -k), day);
            }
        }
        for k in 0..5_000_i64 {
            assert_eq!(days.first(known_key(k, -k)), Some((20_000 + k % 7).min(19_990 + k % 11)));
            assert_eq!(days.first(known_key(-k - 1, k)), None);
        }
        assert_eq!(days.0.len(), 5_000);
    }

    #[test]
    fn known_machines_homes_and_watchers_are_ordinary() {
        let mut uses = Uses::default();
        uses.known.note(known_key(1, 10), 100);
        uses.home.note(known_key(1, 64_500), 100);
        uses.watched.note(known_anywhere(11), 102);
        let ordinary = |account, device, asn, day| uses.ordinary(account, device, asn, day);
        assert!(
            ordinary(Some(1), 10, 9, 101) && !ordinary(Some(1), 10, 9, 100),
            "known from the day before on"
        );
        assert!(ordinary(Some(1), 12, 64_500, 101) && !ordinary(Some(2), 12, 64_500, 101));
        assert!(
            ordinary(None, 11, 9, 101) && !ordinary(None, 11, 9, 100),
            "watched on the next day at the latest"
        );
        assert!(!ordinary(None, 10, 64_500, 200), "a name that nobody has has no home");
    }

    #[test]
    fn a_machine_is_odd_when_most_of_its_attempts_are() {
        let mut day = Day::default();
        for (device, ordinary, program) in
            [(1, true, 0), (1, false, 0), (2, false, 0), (2, false, 1), (2, true, 1)]
        {
            day.add(device, ordinary, program);
        }
        let mut out = Odd::default();
        day.finish(7, &mut out);
        assert_eq!(out.machines, [(2, 7)]);
        assert_eq!(out.programs, BTreeMap::from([((7, 0), (3, 1)), ((7, 1), (2, 2))]));
    }
}
