//! The SQL functions: aggregates that build and merge sketches, scalars that read them.

use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryBuilder, Float64Array, Float64Builder, Int64Builder, ListBuilder,
    StringBuilder, StructBuilder,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Float64Type};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::function::{AccumulatorArgs, StateFieldsArgs};
use datafusion::logical_expr::{
    Accumulator, AggregateUDF, AggregateUDFImpl, ColumnarValue, GroupsAccumulator, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, TypeSignature, Volatility,
};
use datafusion::physical_expr::expressions::Literal;
use datasketches::theta::{ThetaANotB, ThetaIntersection};

use crate::accumulate::{Input, OneGroup, SketchGroups, engine_error};
use crate::sketch::{GroupSketch, Hll, Kll, Theta, TopK};

/// Returns `hll`, `theta`, `kll`, `top_k` and their `_merge` forms.
///
/// Each takes a value (or a sketch, for `_merge`) and optionally the sketch size as a literal:
/// `hll(client)`, `hll(client, 12)`. The result is `Binary`; null when no value was seen.
#[must_use]
pub fn aggregate_functions() -> Vec<AggregateUDF> {
    fn pair<S: GroupSketch>(name: &'static str, merge: &'static str) -> [AggregateUDF; 2] {
        [
            AggregateUDF::from(SketchAggregate::<S>::new(name, Input::Values)),
            AggregateUDF::from(SketchAggregate::<S>::new(merge, Input::Sketches)),
        ]
    }
    [
        pair::<Hll>("hll", "hll_merge"),
        pair::<Theta>("theta", "theta_merge"),
        pair::<Kll>("kll", "kll_merge"),
        pair::<TopK>("top_k", "top_k_merge"),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Returns the functions that read sketches.
///
/// `hll_count|low|high(sketch)`, `theta_count|low|high(sketch)`, `theta_and|not(a, b)`,
/// `kll_quantile|low|high(sketch, rank)`, `kll_n(sketch)` and `top_k_items(sketch, n)`, a list of
/// `{item, estimate, low, high}`. Bounds are about 95 % for counts and 99 % for quantiles.
/// Null in, null out.
#[must_use]
pub fn scalar_functions() -> Vec<ScalarUDF> {
    [
        Read::HllCount,
        Read::HllLow,
        Read::HllHigh,
        Read::ThetaCount,
        Read::ThetaLow,
        Read::ThetaHigh,
        Read::ThetaAnd,
        Read::ThetaNot,
        Read::KllQuantile,
        Read::KllLow,
        Read::KllHigh,
        Read::KllN,
        Read::TopKItems,
    ]
    .into_iter()
    .map(|read| ScalarUDF::from(SketchRead { read, signature: read.signature() }))
    .collect()
}

#[derive(Debug)]
struct SketchAggregate<S> {
    name: &'static str,
    input: Input,
    signature: Signature,
    sketch: PhantomData<fn() -> S>,
}

impl<S> SketchAggregate<S> {
    fn new(name: &'static str, input: Input) -> Self {
        let one_or_two = TypeSignature::OneOf(vec![TypeSignature::Any(1), TypeSignature::Any(2)]);
        let signature = Signature::new(one_or_two, Volatility::Immutable);
        Self { name, input, signature, sketch: PhantomData }
    }
}

impl<S> PartialEq for SketchAggregate<S> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}
impl<S> Eq for SketchAggregate<S> {}
impl<S> Hash for SketchAggregate<S> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

impl<S: GroupSketch> SketchAggregate<S> {
    fn groups(&self, args: &AccumulatorArgs<'_>) -> Result<SketchGroups<S>> {
        let size = match args.exprs.get(1) {
            None => S::SIZE,
            Some(expr) => match expr.downcast_ref::<Literal>().map(|l| l.value().clone()) {
                Some(ScalarValue::Int64(Some(n))) => n,
                _ => return plan_err!("the size of `{}` must be a whole-number literal", self.name),
            },
        };
        SketchGroups::new(self.input, size)
    }
}

impl<S: GroupSketch> AggregateUDFImpl for SketchAggregate<S> {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, arg_types: &[DataType]) -> Result<DataType> {
        let binary = matches!(
            arg_types.first(),
            Some(DataType::Binary | DataType::BinaryView | DataType::LargeBinary | DataType::Null)
        );
        if self.input == Input::Sketches && !binary {
            return plan_err!("`{}` merges sketches, but its argument is no binary column", self.name);
        }
        Ok(DataType::Binary)
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![Arc::new(Field::new(format!("{}[sketch]", args.name), DataType::Binary, true))])
    }

    fn accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(OneGroup::new(self.groups(&args)?, &DataType::Binary)?))
    }

    fn groups_accumulator_supported(&self, _args: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, args: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(self.groups(&args)?))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Read {
    HllCount,
    HllLow,
    HllHigh,
    ThetaCount,
    ThetaLow,
    ThetaHigh,
    ThetaAnd,
    ThetaNot,
    KllQuantile,
    KllLow,
    KllHigh,
    KllN,
    TopKItems,
}

impl Read {
    fn name(self) -> &'static str {
        match self {
            Self::HllCount => "hll_count",
            Self::HllLow => "hll_low",
            Self::HllHigh => "hll_high",
            Self::ThetaCount => "theta_count",
            Self::ThetaLow => "theta_low",
            Self::ThetaHigh => "theta_high",
            Self::ThetaAnd => "theta_and",
            Self::ThetaNot => "theta_not",
            Self::KllQuantile => "kll_quantile",
            Self::KllLow => "kll_low",
            Self::KllHigh => "kll_high",
            Self::KllN => "kll_n",
            Self::TopKItems => "top_k_items",
        }
    }

    fn signature(self) -> Signature {
        let args = match self {
            Self::ThetaAnd
            | Self::ThetaNot
            | Self::KllQuantile
            | Self::KllLow
            | Self::KllHigh
            | Self::TopKItems => 2,
            _ => 1,
        };
        Signature::any(args, Volatility::Immutable)
    }
}

fn item_fields() -> Fields {
    Fields::from(vec![
        Field::new("item", DataType::Utf8, true),
        Field::new("estimate", DataType::Int64, true),
        Field::new("low", DataType::Int64, true),
        Field::new("high", DataType::Int64, true),
    ])
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct SketchRead {
    read: Read,
    signature: Signature,
}

impl ScalarUDFImpl for SketchRead {
    fn name(&self) -> &str {
        self.read.name()
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(match self.read {
            Read::ThetaAnd | Read::ThetaNot => DataType::Binary,
            Read::KllN => DataType::Int64,
            Read::TopKItems => {
                DataType::List(Arc::new(Field::new("item", DataType::Struct(item_fields()), true)))
            }
            _ => DataType::Float64,
        })
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let mut arrays = Vec::with_capacity(2);
        for a in args.args {
            arrays.push(a.into_array(rows)?);
        }
        let [sketch, rest @ ..] = arrays.as_slice() else {
            return plan_err!("`{}` needs a sketch", self.name());
        };
        let sketch = cast(sketch, &DataType::Binary)?;
        let out = match self.read {
            Read::ThetaAnd | Read::ThetaNot => self.theta_set(&sketch, rest)?,
            Read::TopKItems => top_items(&sketch, rest)?,
            Read::KllN => kll_n(&sketch)?,
            _ => self.number(&sketch, rest)?,
        };
        Ok(ColumnarValue::Array(out))
    }
}

fn numbers(rest: &[ArrayRef], rows: usize) -> Result<Float64Array> {
    match rest.first() {
        Some(a) => Ok(cast(a, &DataType::Float64)?.as_primitive::<Float64Type>().clone()),
        None => Ok(Float64Array::from(vec![0.0; rows])),
    }
}

impl SketchRead {
    fn number(&self, sketch: &ArrayRef, rest: &[ArrayRef]) -> Result<ArrayRef> {
        let typed = sketch.as_binary::<i32>();
        let ranks = numbers(rest, typed.len())?;
        let mut out = Float64Builder::with_capacity(typed.len());
        for row in 0..typed.len() {
            if typed.is_null(row) || ranks.is_null(row) {
                out.append_null();
                continue;
            }
            let (bytes, rank) = (typed.value(row), ranks.value(row));
            let value = match self.read {
                Read::HllCount => Hll::count(bytes).map(Some),
                Read::HllLow => Hll::bounds(bytes).map(|b| Some(b.0)),
                Read::HllHigh => Hll::bounds(bytes).map(|b| Some(b.1)),
                Read::ThetaCount => Theta::read(bytes).map(|s| Some(s.estimate())),
                Read::ThetaLow => Theta::read(bytes).map(|s| Some(Theta::bounds(&s).0)),
                Read::ThetaHigh => Theta::read(bytes).map(|s| Some(Theta::bounds(&s).1)),
                Read::KllQuantile => Kll::quantile(bytes, rank),
                Read::KllLow => Kll::bounds(bytes, rank).map(|b| b.map(|b| b.0)),
                Read::KllHigh => Kll::bounds(bytes, rank).map(|b| b.map(|b| b.1)),
                Read::ThetaAnd | Read::ThetaNot | Read::KllN | Read::TopKItems => Ok(None),
            };
            out.append_option(value.map_err(engine_error)?);
        }
        Ok(Arc::new(out.finish()))
    }

    fn theta_set(&self, sketch: &ArrayRef, rest: &[ArrayRef]) -> Result<ArrayRef> {
        let Some(other) = rest.first() else {
            return plan_err!("`{}` needs two sketches", self.name());
        };
        let other = cast(other, &DataType::Binary)?;
        let (a, b) = (sketch.as_binary::<i32>(), other.as_binary::<i32>());
        let mut out = BinaryBuilder::new();
        for row in 0..a.len() {
            if a.is_null(row) || b.is_null(row) {
                out.append_null();
                continue;
            }
            let left = Theta::read(a.value(row)).map_err(engine_error)?;
            let right = Theta::read(b.value(row)).map_err(engine_error)?;
            let set = theta_combine(self.read, &left, &right).map_err(|e| {
                engine_error(crate::SketchError::Corrupt { kind: "theta", cause: e.to_string() })
            })?;
            out.append_option(set.map(|s| s.serialize()));
        }
        Ok(Arc::new(out.finish()))
    }
}

fn theta_combine(
    read: Read,
    left: &datasketches::theta::CompactThetaSketch,
    right: &datasketches::theta::CompactThetaSketch,
) -> std::result::Result<Option<datasketches::theta::CompactThetaSketch>, datasketches::error::Error> {
    if read == Read::ThetaNot {
        return ThetaANotB::default().compute(left, right, true).map(Some);
    }
    let mut both = ThetaIntersection::default();
    both.update(left)?;
    both.update(right)?;
    Ok(both.to_sketch(true))
}

fn kll_n(sketch: &ArrayRef) -> Result<ArrayRef> {
    let typed = sketch.as_binary::<i32>();
    let mut out = Int64Builder::with_capacity(typed.len());
    for row in 0..typed.len() {
        if typed.is_null(row) {
            out.append_null();
        } else {
            let n = Kll::read(typed.value(row)).map_err(engine_error)?.n();
            out.append_value(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
    Ok(Arc::new(out.finish()))
}

fn top_items(sketch: &ArrayRef, rest: &[ArrayRef]) -> Result<ArrayRef> {
    let typed = sketch.as_binary::<i32>();
    let limits = numbers(rest, typed.len())?;
    let element = Field::new("item", DataType::Struct(item_fields()), true);
    let mut out = ListBuilder::new(StructBuilder::from_fields(item_fields(), 16)).with_field(element);
    for row in 0..typed.len() {
        if typed.is_null(row) || limits.is_null(row) {
            out.append_null();
            continue;
        }
        #[expect(clippy::cast_sign_loss, clippy::cast_possible_truncation, reason = "a row limit")]
        let limit = limits.value(row).max(0.0) as usize;
        let items = TopK::items(typed.value(row)).map_err(engine_error)?;
        for (item, estimate, low, high) in items.into_iter().take(limit) {
            append_item(out.values(), &item, [estimate, low, high]);
        }
        out.append(true);
    }
    Ok(Arc::new(out.finish()))
}

fn append_item(row: &mut StructBuilder, item: &str, counts: [u64; 3]) {
    if let Some(b) = row.field_builder::<StringBuilder>(0) {
        b.append_value(item);
    }
    for (i, n) in counts.into_iter().enumerate() {
        if let Some(b) = row.field_builder::<Int64Builder>(i + 1) {
            b.append_value(i64::try_from(n).unwrap_or(i64::MAX));
        }
    }
    row.append(true);
}
