//! What an account was used with before, packed: one value an account instead of a row for each device and network.
//!
//! A join of uses with all earlier uses of the account makes many rows a use and groups them again. Here the earlier ones are
//! gathered once, and each use looks itself up among the few of its account.

use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Int64Array, Int64Builder, LargeBinaryBuilder, StructArray,
};
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::{Result, exec_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, EmitTo, GroupsAccumulator,
    ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

use crate::accumulate::OneGroup;

/// Days that a use is remembered.
const KEPT_DAYS: i64 = 42;
/// What stands for null: equal to nothing that is asked for, and never the least.
const NONE: i64 = i64::MAX;
/// Uses that are gathered before equal ones are made one.
const UNTIDY_MIN: usize = 1 << 20;

/// Returns the aggregate `habits(step_day, day, device, asn, program, country)`.
///
/// All are `Int64`: days since 1970, the rest numbers or hashes. The result is `LargeBinary`, for [`lookup`] alone; null when no
/// use was seen. A use counts for every later day when `step_day` is 0, else for the days after `step_day` that lie no more
/// than 42 after it; uses that differ in `day` and `country` only are made one, with the first and last day and the least
/// country.
#[must_use]
pub fn gather() -> AggregateUDF {
    AggregateUDF::from(Gather {
        signature: Signature::exact(vec![DataType::Int64; 6], Volatility::Immutable),
    })
}

/// Returns the function `habit(habits, day, device, asn, program, country)`.
///
/// The result is a struct of `Int64`, null where nothing alike was there before `day`: `device_last`, `program_last` (of this
/// device), `network_last`, `network_first`, `country_last`, `account_first`, `account_last`. Null habits are none.
#[must_use]
pub fn lookup() -> ScalarUDF {
    let kinds = [vec![DataType::LargeBinary], vec![DataType::Int64; 5]].concat();
    ScalarUDF::from(Lookup { signature: Signature::exact(kinds, Volatility::Immutable) })
}

/// One use, or several that are alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    device: i64,
    asn: i64,
    program: i64,
    step_day: i32,
    first: i32,
    last: i32,
    country: i64,
}

impl Use {
    const BYTES: usize = 44;

    fn put(&self, out: &mut Vec<u8>) {
        [self.device, self.asn, self.program, self.country].iter().for_each(|v| out.extend(v.to_le_bytes()));
        [self.step_day, self.first, self.last].iter().for_each(|v| out.extend(v.to_le_bytes()));
    }

    fn get(bytes: &[u8]) -> Option<Self> {
        let long = |at: usize| Some(i64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?));
        let short = |at: usize| Some(i32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        Some(Self {
            device: long(0)?,
            asn: long(8)?,
            program: long(16)?,
            country: long(24)?,
            step_day: short(32)?,
            first: short(36)?,
            last: short(40)?,
        })
    }

    fn key(&self) -> (i64, i64, i64, i32) {
        (self.device, self.asn, self.program, self.step_day)
    }

    fn is_before(&self, day: i64) -> bool {
        let step = i64::from(self.step_day);
        step == 0 || (step < day && step >= day - KEPT_DAYS)
    }

    fn join(&mut self, other: &Self) {
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.country = self.country.min(other.country);
    }
}

/// Uses of all groups in the order of arrival; equal ones are made one now and then, so that what is held grows with what
/// differs and not with what was read.
#[derive(Debug, Default)]
struct Gathered {
    uses: Vec<(u32, Use)>,
    groups: usize,
    tidy: usize,
}

impl Gathered {
    fn add(&mut self, group: usize, one: Use) -> Result<()> {
        let Ok(group) = u32::try_from(group) else { return exec_err!("more groups than `habits` can hold") };
        self.uses.push((group, one));
        Ok(())
    }

    fn grow(&mut self, groups: usize) {
        self.groups = self.groups.max(groups);
        if self.uses.len() >= UNTIDY_MIN.max(2 * self.tidy) {
            self.tidy_up();
        }
    }

    fn tidy_up(&mut self) {
        let mut all = ByGroup::of(&self.uses, self.groups);
        self.uses.clear();
        for group in 0..self.groups {
            let number = u32::try_from(group).unwrap_or(u32::MAX);
            self.uses.extend(all.merged(group).iter().map(|u| (number, *u)));
        }
        self.tidy = self.uses.len();
    }

    fn emit(&mut self, emit_to: EmitTo) -> ArrayRef {
        let n = match emit_to {
            EmitTo::All => self.groups,
            EmitTo::First(n) => n.min(self.groups),
        };
        let mut all = ByGroup::of(&self.uses, self.groups);
        let mut out = LargeBinaryBuilder::with_capacity(n, all.uses.len() * Use::BYTES);
        let mut bytes = Vec::new();
        for group in 0..n {
            bytes.clear();
            all.merged(group).iter().for_each(|u| u.put(&mut bytes));
            out.append_option((!bytes.is_empty()).then_some(&bytes));
        }
        let gone = u32::try_from(n).unwrap_or(u32::MAX);
        self.uses.retain(|(g, _)| *g >= gone);
        self.uses.iter_mut().for_each(|(g, _)| *g -= gone);
        if self.uses.is_empty() {
            self.uses = Vec::new();
        }
        self.groups -= n;
        self.tidy = self.uses.len();
        Arc::new(out.finish())
    }

    fn bytes(&self) -> usize {
        // WHY: they are sorted into a second place when they are made fewer.
        self.uses.capacity() * size_of::<(u32, Use)>() + self.uses.len() * size_of::<Use>()
    }
}

/// The same uses, those of a group side by side.
struct ByGroup {
    uses: Vec<Use>,
    starts: Vec<usize>,
}

impl ByGroup {
    fn of(all: &[(u32, Use)], groups: usize) -> Self {
        let mut next = vec![0usize; groups + 1];
        all.iter().for_each(|(g, _)| next[*g as usize + 1] += 1);
        (0..groups).for_each(|g| next[g + 1] += next[g]);
        let starts = next.clone();
        let Some((_, any)) = all.first() else { return Self { uses: Vec::new(), starts } };
        let mut uses = vec![*any; all.len()];
        for (group, one) in all {
            let at = &mut next[*group as usize];
            uses[*at] = *one;
            *at += 1;
        }
        Self { uses, starts }
    }

    // Those of one group, sorted, no two alike.
    fn merged(&mut self, group: usize) -> &[Use] {
        let all = &mut self.uses[self.starts[group]..self.starts[group + 1]];
        all.sort_unstable();
        let mut kept = 0;
        for i in 1..all.len() {
            let one = all[i];
            if one.key() == all[kept].key() {
                all[kept].join(&one);
            } else {
                kept += 1;
                all[kept] = one;
            }
        }
        if all.is_empty() { all } else { &all[..=kept] }
    }
}

impl GroupsAccumulator for Gathered {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        let rows = Rows::of(values)?;
        for (row, group) in group_indices.iter().enumerate() {
            if opt_filter.is_some_and(|f| f.is_null(row) || !f.value(row)) {
                continue;
            }
            if let Some(one) = rows.get(row)? {
                self.add(*group, one)?;
            }
        }
        self.grow(total_num_groups);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        Ok(self.emit(emit_to))
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        let [states] = values else { return exec_err!("`habits` has one state") };
        let states = states.as_binary::<i64>();
        for (row, group) in group_indices.iter().enumerate().filter(|(row, _)| states.is_valid(*row)) {
            for one in states.value(row).chunks(Use::BYTES).filter_map(Use::get) {
                self.add(*group, one)?;
            }
        }
        self.grow(total_num_groups);
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let n = values.first().map_or(0, |v| v.len());
        let each: Vec<usize> = (0..n).collect();
        let mut fresh = Self::default();
        fresh.update_batch(values, &each, opt_filter, n)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.bytes()
    }
}

/// The six arguments of one batch.
struct Rows<'a>([&'a Int64Array; 6]);

impl<'a> Rows<'a> {
    fn of(values: &'a [ArrayRef]) -> Result<Self> {
        let columns: Vec<&Int64Array> = values.iter().map(|v| v.as_primitive::<Int64Type>()).collect();
        match <[&Int64Array; 6]>::try_from(columns) {
            Ok(columns) => Ok(Self(columns)),
            Err(_) => exec_err!("`habits` takes six values"),
        }
    }

    fn get(&self, row: usize) -> Result<Option<Use>> {
        let of = |c: usize| self.0[c].is_valid(row).then(|| self.0[c].value(row));
        let (Some(step_day), Some(day)) = (of(0), of(1)) else { return Ok(None) };
        let (Ok(step_day), Ok(day)) = (i32::try_from(step_day), i32::try_from(day)) else {
            return exec_err!("`habits` takes days since 1970, not {step_day} and {day}");
        };
        let [device, asn, program, country] = [2, 3, 4, 5].map(|c| of(c).unwrap_or(NONE));
        Ok(Some(Use { device, asn, program, step_day, first: day, last: day, country }))
    }
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Gather {
    signature: Signature,
}

impl AggregateUDFImpl for Gather {
    fn name(&self) -> &'static str {
        "habits"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::LargeBinary)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[uses]", args.name), DataType::LargeBinary, true))])
    }

    fn accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(Gathered::default(), &DataType::LargeBinary)?))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::<Gathered>::default())
    }
}

const FOUND: [&str; 7] = [
    "device_last",
    "program_last",
    "network_last",
    "network_first",
    "country_last",
    "account_first",
    "account_last",
];

#[derive(Debug, PartialEq, Eq, Hash)]
struct Lookup {
    signature: Signature,
}

impl ScalarUDFImpl for Lookup {
    fn name(&self) -> &'static str {
        "habit"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Struct(found_fields()))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let n = args.number_rows;
        let arrays: Vec<ArrayRef> = args.args.into_iter().map(|a| a.into_array(n)).collect::<Result<_>>()?;
        let [packed, rest @ ..] = arrays.as_slice() else { return exec_err!("`habit` needs habits") };
        let packed = packed.as_binary::<i64>();
        let rest: Vec<&Int64Array> = rest.iter().map(|v| v.as_primitive::<Int64Type>()).collect();
        let mut out = FOUND.map(|_| Int64Builder::with_capacity(n));
        for row in 0..n {
            let uses = if packed.is_valid(row) { packed.value(row) } else { &[] };
            let asked = |c: usize| rest.get(c).filter(|a| a.is_valid(row)).map(|a| a.value(row));
            let found = Asked {
                day: asked(0),
                device: asked(1),
                asn: asked(2),
                program: asked(3),
                country: asked(4),
            };
            out.iter_mut().zip(found.among(uses)).for_each(|(o, v)| o.append_option(v.map(i64::from)));
        }
        let columns = out.into_iter().map(|mut o| Arc::new(o.finish()) as ArrayRef).collect();
        Ok(ColumnarValue::Array(Arc::new(StructArray::try_new(found_fields(), columns, None)?)))
    }
}

fn found_fields() -> Fields {
    FOUND.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect()
}

/// A use that is looked up among earlier ones.
struct Asked {
    day: Option<i64>,
    device: Option<i64>,
    asn: Option<i64>,
    program: Option<i64>,
    country: Option<i64>,
}

impl Asked {
    // In the order of `FOUND`.
    fn among(&self, uses: &[u8]) -> [Option<i32>; 7] {
        let mut out = [None; 7];
        let Some(day) = self.day else { return out };
        let last = |slot: &mut Option<i32>, at: i32| *slot = Some(slot.map_or(at, |s| s.max(at)));
        let first = |slot: &mut Option<i32>, at: i32| *slot = Some(slot.map_or(at, |s| s.min(at)));
        for one in uses.chunks(Use::BYTES).filter_map(Use::get).filter(|u| u.is_before(day)) {
            let same = |asked: Option<i64>, held: i64| held != NONE && asked == Some(held);
            if same(self.device, one.device) {
                last(&mut out[0], one.last);
                if same(self.program, one.program) {
                    last(&mut out[1], one.last);
                }
            }
            if same(self.asn, one.asn) {
                last(&mut out[2], one.last);
                first(&mut out[3], one.first);
            }
            if same(self.country, one.country) {
                last(&mut out[4], one.last);
            }
            first(&mut out[5], one.first);
            last(&mut out[6], one.last);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;
    use crate::{Engine, EngineConfig};

    type Row = (i64, [i64; 6]);

    fn table(name: &str, rows: &[Row]) -> String {
        let mut out = format!("{name} (account, step_day, d, device, asn, program, country) AS (VALUES ");
        for (i, (account, v)) in rows.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            // One device in ten is not known.
            let device = if v[2] == 9 { "CAST(NULL AS BIGINT)".to_owned() } else { v[2].to_string() };
            write!(out, "{comma}({account}, {}, {}, {device}, {}, {}, {})", v[0], v[1], v[3], v[4], v[5])
                .unwrap();
        }
        out + ")"
    }

    async fn lines(sql: &str) -> String {
        let config = EngineConfig { memory_bytes: 64 << 20, threads: 2, spill_dir: None };
        let context = Engine::new(&config).unwrap().session([]).unwrap();
        let all = context.sql(sql).await.unwrap().collect().await.unwrap();
        arrow::util::pretty::pretty_format_batches(&all).unwrap().to_string()
    }

    fn rows(most: usize) -> impl Strategy<Value = Vec<Row>> {
        let values = (0i64..2, 60i64..70, 0i64..10, 0i64..4, 0i64..3, 0i64..3);
        let one = (0i64..6, values).prop_map(|(account, (step, d, device, asn, program, country))| {
            (account, [step * d, d, device, asn, program, country])
        });
        prop::collection::vec(one, 1..most)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        // INVARIANT: what is looked up is what a join with every earlier use finds, however the uses came.
        #[test]
        fn habits_are_what_a_join_finds(before in rows(80), more in rows(80), now in rows(20)) {
            let with = format!(
                "WITH {}, {}, {}, before AS (SELECT * FROM x UNION ALL SELECT * FROM y), one AS (
                   SELECT account, step_day, device, asn, program, min(country) AS country, min(d) AS first, max(d) AS last
                   FROM before GROUP BY 1, 2, 3, 4, 5)",
                table("x", &before), table("y", &more), table("now", &now)
            );
            let known = FOUND.map(|f| format!("k['{f}'] AS {f}")).join(", ");
            let packed = format!(
                "{with} SELECT account, d, device, asn, program, country, {known} FROM (
                   SELECT DISTINCT n.account, n.d, n.device, n.asn, n.program, n.country,
                     habit(h.packed, n.d, n.device, n.asn, n.program, n.country) AS k
                   FROM now n LEFT JOIN (
                     SELECT account, habits(step_day, d, device, asn, program, country) AS packed FROM before GROUP BY 1
                   ) h ON h.account = n.account)
                 ORDER BY 1, 2, 3, 4, 5, 6"
            );
            let joined = format!(
                "{with} SELECT n.account, n.d, n.device, n.asn, n.program, n.country,
                   max(CASE WHEN b.device = n.device THEN b.last END) AS device_last,
                   max(CASE WHEN b.device = n.device AND b.program = n.program THEN b.last END) AS program_last,
                   max(CASE WHEN b.asn = n.asn THEN b.last END) AS network_last,
                   min(CASE WHEN b.asn = n.asn THEN b.first END) AS network_first,
                   max(CASE WHEN b.country = n.country THEN b.last END) AS country_last,
                   min(b.first) AS account_first, max(b.last) AS account_last
                 FROM now n LEFT JOIN one b
                   ON b.account = n.account AND (b.step_day = 0 OR (b.step_day < n.d AND b.step_day >= n.d - 42))
                 GROUP BY 1, 2, 3, 4, 5, 6 ORDER BY 1, 2, 3, 4, 5, 6"
            );
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (a, b) = runtime.block_on(async { (lines(&packed).await, lines(&joined).await) });
            prop_assert_eq!(a, b);
        }
    }

    #[tokio::test]
    async fn without_groups_there_is_one_value_and_none_of_nothing() {
        let sql = |rows: &str| {
            format!(
                "SELECT habit(h, 9, 1, 2, 3, 4)['account_last'] AS last, h IS NULL AS none
                 FROM (SELECT habits(a, b, 1, 2, 3, 4) AS h FROM (VALUES (0, 5), (0, 7)) AS t (a, b) WHERE {rows})"
            )
        };
        assert!(lines(&sql("true")).await.contains("| 7    | false |"));
        assert!(lines(&sql("b > 8")).await.contains("|      | true |"));
    }

    // INVARIANT: equal uses take room once, however many are read, and what is left after a part was handed over is whole.
    #[test]
    fn equal_uses_are_held_once() {
        let mut all = Gathered::default();
        let rounds = 3 * UNTIDY_MIN / 3_000;
        for day in 0..rounds {
            for group in 0..3_000usize {
                let day = i32::try_from(day).unwrap();
                let one =
                    Use { device: 1, asn: 2, program: 3, step_day: 0, first: day, last: day, country: 4 };
                all.add(group, one).unwrap();
            }
            all.grow(3_000);
        }
        assert!(all.uses.len() <= UNTIDY_MIN + 3_000, "{} uses are held", all.uses.len());
        let one = |packed: &ArrayRef, row: usize| {
            let bytes = packed.as_binary::<i64>().value(row).to_vec();
            assert_eq!(bytes.len(), Use::BYTES);
            Use::get(&bytes).unwrap()
        };
        let first = all.emit(EmitTo::First(1_000));
        let rest = all.emit(EmitTo::All);
        assert_eq!((first.len(), rest.len()), (1_000, 2_000));
        for found in [one(&first, 0), one(&first, 999), one(&rest, 0), one(&rest, 1_999)] {
            assert_eq!((found.first, found.last), (0, i32::try_from(rounds - 1).unwrap()));
        }
    }
}
