//! Vectorised group accumulators over [`GroupSketch`], for both raw values and stored sketches.

use std::fmt;
use std::mem::size_of;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, BooleanArray, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type};
use datafusion::common::{DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::{Accumulator, EmitTo, GroupsAccumulator};

use crate::sketch::{GroupSketch, SketchError, Value};

pub(crate) fn engine_error(e: SketchError) -> DataFusionError {
    DataFusionError::External(Box::new(e))
}

/// Whether the aggregate reads raw values or sketches made earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Input {
    Values,
    Sketches,
}

/// All groups of one aggregation.
pub(crate) struct SketchGroups<S: GroupSketch> {
    input: Input,
    size: i64,
    groups: Vec<S>,
    shared: S::Shared,
    heap_bytes: usize,
}

impl<S: GroupSketch> fmt::Debug for SketchGroups<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SketchGroups").field("groups", &self.groups.len()).finish()
    }
}

impl<S: GroupSketch> SketchGroups<S> {
    pub(crate) fn new(input: Input, size: i64) -> Result<Self> {
        S::empty(size).map_err(engine_error)?;
        Ok(Self { input, size, groups: Vec::new(), shared: S::Shared::default(), heap_bytes: 0 })
    }

    fn grow(&mut self, total: usize) -> Result<()> {
        while self.groups.len() < total {
            self.groups.push(S::empty(self.size).map_err(engine_error)?);
        }
        Ok(())
    }

    fn add_values(&mut self, array: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let (groups, shared) = (&mut self.groups, &mut self.shared);
        let array = plain(array)?;
        macro_rules! each {
            ($typed:expr, $wrap:expr) => {{
                let typed = $typed;
                for (row, group) in rows.iter() {
                    if typed.is_valid(row)
                        && let Some(g) = groups.get_mut(group)
                    {
                        g.update(shared, $wrap(typed.value(row)));
                    }
                }
            }};
        }
        match array.data_type() {
            DataType::Utf8View => each!(array.as_string_view(), Value::Str),
            DataType::Utf8 => each!(array.as_string::<i32>(), Value::Str),
            DataType::Int64 => each!(array.as_primitive::<Int64Type>(), Value::Int),
            DataType::Float64 => each!(array.as_primitive::<Float64Type>(), Value::Float),
            DataType::Binary => each!(array.as_binary::<i32>(), Value::Bytes),
            DataType::Null => {}
            other => return exec_err!("no sketch can be made of values of type {other}"),
        }
        Ok(())
    }

    fn add_sketches(&mut self, array: &ArrayRef, rows: &Rows<'_>) -> Result<()> {
        let array = if *array.data_type() == DataType::Binary {
            Arc::clone(array)
        } else {
            cast(array, &DataType::Binary)?
        };
        let typed = array.as_binary::<i32>();
        for (row, group) in rows.iter() {
            if typed.is_valid(row)
                && let Some(g) = self.groups.get_mut(group)
            {
                g.merge(typed.value(row)).map_err(engine_error)?;
            }
        }
        Ok(())
    }

    // WHY: walking every group on each batch would be quadratic; only touched groups changed,
    // so the total is refreshed from a sample of them.
    fn refresh_size(&mut self, touched: &[usize]) {
        let step = (touched.len() / 64).max(1);
        let (mut n, mut sum) = (0usize, 0usize);
        for g in touched.iter().step_by(step).filter_map(|g| self.groups.get(*g)) {
            n += 1;
            sum += g.heap_bytes();
        }
        let estimate = sum.checked_div(n).unwrap_or(0) * self.groups.len();
        self.heap_bytes = if self.groups.len() <= 1024 {
            self.groups.iter().map(S::heap_bytes).sum()
        } else {
            estimate.max(self.heap_bytes)
        };
    }

    fn emit(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        let taken = emit_to.take_needed(&mut self.groups);
        let mut out = BinaryBuilder::with_capacity(taken.len(), taken.len() * 64);
        for g in &taken {
            out.append_option(g.to_bytes(&self.shared).map_err(engine_error)?);
        }
        self.heap_bytes = self.groups.iter().map(S::heap_bytes).sum();
        if self.groups.is_empty() {
            self.shared = S::Shared::default();
        }
        Ok(Arc::new(out.finish()))
    }
}

struct Rows<'a> {
    groups: &'a [usize],
    filter: Option<&'a BooleanArray>,
}

impl Rows<'_> {
    fn iter(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.groups.iter().enumerate().filter_map(|(row, group)| match self.filter {
            Some(f) if f.is_null(row) || !f.value(row) => None,
            _ => Some((row, *group)),
        })
    }
}

fn plain(array: &ArrayRef) -> Result<ArrayRef> {
    let target = match array.data_type() {
        DataType::Dictionary(_, _) | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => DataType::Binary,
        DataType::Int8
        | DataType::Int16
        | DataType::Int32
        | DataType::UInt8
        | DataType::UInt16
        | DataType::UInt32
        | DataType::UInt64
        | DataType::Boolean => DataType::Int64,
        DataType::Float16 | DataType::Float32 | DataType::Decimal128(_, _) => DataType::Float64,
        _ => return Ok(Arc::clone(array)),
    };
    Ok(cast(array, &target)?)
}

fn first(values: &[ArrayRef]) -> Result<&ArrayRef> {
    values.first().ok_or_else(|| DataFusionError::Internal("aggregate without input".to_owned()))
}

impl<S: GroupSketch> GroupsAccumulator for SketchGroups<S> {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        opt_filter: Option<&BooleanArray>,
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups)?;
        let rows = Rows { groups: group_indices, filter: opt_filter };
        match self.input {
            Input::Values => self.add_values(first(values)?, &rows)?,
            Input::Sketches => self.add_sketches(first(values)?, &rows)?,
        }
        self.refresh_size(group_indices);
        Ok(())
    }

    fn evaluate(&mut self, emit_to: EmitTo) -> Result<ArrayRef> {
        self.emit(emit_to)
    }

    fn state(&mut self, emit_to: EmitTo) -> Result<Vec<ArrayRef>> {
        Ok(vec![self.emit(emit_to)?])
    }

    fn merge_batch(
        &mut self,
        values: &[ArrayRef],
        group_indices: &[usize],
        total_num_groups: usize,
    ) -> Result<()> {
        self.grow(total_num_groups)?;
        self.add_sketches(first(values)?, &Rows { groups: group_indices, filter: None })?;
        self.refresh_size(group_indices);
        Ok(())
    }

    fn convert_to_state(
        &self,
        values: &[ArrayRef],
        opt_filter: Option<&BooleanArray>,
    ) -> Result<Vec<ArrayRef>> {
        let rows = first(values)?.len();
        let each: Vec<usize> = (0..rows).collect();
        let mut fresh = Self::new(self.input, self.size)?;
        fresh.update_batch(values, &each, opt_filter, rows)?;
        fresh.state(EmitTo::All)
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<S>() + self.heap_bytes + S::shared_bytes(&self.shared)
    }
}

/// The one group of a query without GROUP BY, kept as any number of groups is.
#[derive(Debug)]
pub(crate) struct OneGroup<G>(G);

impl<G: GroupsAccumulator> OneGroup<G> {
    /// Returns the group, which is there even where no row comes; `state` is the type of its only state.
    pub(crate) fn new(mut groups: G, state: &DataType) -> Result<Self> {
        groups.merge_batch(&[new_empty_array(state)], &[], 1)?;
        Ok(Self(groups))
    }

    fn state_now(&mut self) -> Result<ScalarValue> {
        let state = self.0.state(EmitTo::All)?;
        // WHY: handing it over empties it, and whoever asked may add more and ask again.
        self.0.merge_batch(&state, &[0], 1)?;
        ScalarValue::try_from_array(first(&state)?, 0)
    }
}

impl<G: GroupsAccumulator + fmt::Debug + Sync> Accumulator for OneGroup<G> {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let zeros = vec![0usize; first(values)?.len()];
        self.0.update_batch(values, &zeros, None, 1)
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        // What these aggregates return is their state.
        self.state_now()
    }

    fn size(&self) -> usize {
        self.0.size()
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.state_now()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let zeros = vec![0usize; first(states)?.len()];
        self.0.merge_batch(states, &zeros, 1)
    }
}
