//! Thin wrappers over Apache DataSketches: one mergeable state per group.
//!
//! Values are hashed only through the crate's raw-bytes helpers, so that the bytes written
//! here merge with the same sketch made by any other DataSketches implementation. Each wrapper
//! starts as a plain buffer, because most groups of a minute rollup hold a few dozen values.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;

use datasketches::common::NumStdDev;
use datasketches::common::SearchCriteria;
use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use datasketches::hash::value::raw_bytes;
use datasketches::hll::{Coupon, HllSketch, HllType, HllUnion};
use datasketches::kll::{KllFloat, KllSketch};
use datasketches::theta::{
    CompactThetaSketch, ThetaSketch, ThetaSketchBuilder, ThetaUnion, ThetaUnionBuilder,
};
use thiserror::Error;

/// Bytes or parameters that are no valid sketch.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SketchError {
    /// The bytes of a stored sketch cannot be read.
    #[error("not a valid {kind} sketch: {cause}")]
    Corrupt {
        /// Sketch family.
        kind: &'static str,
        /// What the decoder said.
        cause: String,
    },
    /// A size parameter is outside what the sketch allows.
    #[error("`{value}` is no valid size for {kind}: {cause}")]
    Size {
        /// Sketch family.
        kind: &'static str,
        /// The value given.
        value: i64,
        /// What the sketch said.
        cause: String,
    },
}

fn corrupt(kind: &'static str) -> impl Fn(datasketches::error::Error) -> SketchError {
    move |e| SketchError::Corrupt { kind, cause: e.to_string() }
}

fn bad_size(kind: &'static str, value: i64) -> impl Fn(datasketches::error::Error) -> SketchError {
    move |e| SketchError::Size { kind, value, cause: e.to_string() }
}

/// One input value, borrowed from an Arrow array.
#[derive(Clone, Copy, Debug)]
pub enum Value<'a> {
    /// Text; the empty string counts as no value.
    Str(&'a str),
    /// Whole number.
    Int(i64),
    /// Measurement; NaN counts as no value.
    Float(f64),
    /// Bytes; empty counts as no value.
    Bytes(&'a [u8]),
}

/// State of one group: takes values, merges stored states, becomes bytes.
pub trait GroupSketch: std::fmt::Debug + Send + Sync + Sized + 'static {
    /// Data shared by all groups of one accumulator.
    type Shared: std::fmt::Debug + Default + Send + Sync;
    /// Default size parameter (`lg_k`, `k` or map size).
    const SIZE: i64;
    /// Returns an empty state of the given size.
    ///
    /// # Errors
    /// A size that the sketch family does not allow.
    fn empty(size: i64) -> Result<Self, SketchError>;
    /// Adds one value.
    fn update(&mut self, shared: &mut Self::Shared, value: Value<'_>);
    /// Adds a stored state.
    ///
    /// # Errors
    /// Bytes that are no such sketch.
    fn merge(&mut self, bytes: &[u8]) -> Result<(), SketchError>;
    /// Returns the DataSketches bytes, or `None` when no value was ever added.
    ///
    /// # Errors
    /// An inner failure of the sketch library.
    fn to_bytes(&self, shared: &Self::Shared) -> Result<Option<Vec<u8>>, SketchError>;
    /// Returns the heap bytes held by this group.
    fn heap_bytes(&self) -> usize;
    /// Returns the heap bytes held for all groups together.
    fn shared_bytes(_shared: &Self::Shared) -> usize {
        0
    }
}

// --- distinct counts -------------------------------------------------------------------------

/// HyperLogLog distinct count; `lg_k` 14: 0.8 % standard error, at most 8 KiB stored.
#[derive(Debug)]
pub struct Hll {
    lg_k: u8,
    coupons: Vec<Coupon>,
    sketch: Option<Box<HllSketch>>,
    union: Option<Box<HllUnion>>,
    /// The one small stored sketch that was merged so far, as it came: most groups of a fine rollup see no
    /// second, and a union is far larger than what it would hold.
    stored: Option<Box<[u8]>>,
}

const HLL: &str = "hll";
const HLL_LG_K: std::ops::RangeInclusive<u8> = 4..=21;
const COUPONS_MAX: usize = 512;

impl Hll {
    fn coupon(value: Value<'_>) -> Option<Coupon> {
        match value {
            Value::Str("") | Value::Bytes([]) => None,
            Value::Str(s) => Some(Coupon::from_value(raw_bytes::from_str(s))),
            Value::Bytes(b) => Some(Coupon::from_value(raw_bytes::from_slice(b))),
            Value::Int(i) => Some(Coupon::from_value(i)),
            Value::Float(f) => {
                Some(Coupon::from_value(datasketches::hash::value::canonical_float::from_f64(f)))
            }
        }
    }

    fn add(&mut self, coupon: Coupon) {
        if let Some(sketch) = &mut self.sketch {
            return sketch.update_with_coupon(coupon);
        }
        self.coupons.push(coupon);
        if self.coupons.len() >= COUPONS_MAX {
            self.coupons.sort_unstable();
            self.coupons.dedup();
            if self.coupons.len() > COUPONS_MAX / 2 {
                self.promote();
            }
        }
    }

    fn promote(&mut self) {
        // WHY: the size was checked in `empty`, so construction cannot fail here.
        if let Ok(mut sketch) = HllSketch::new(self.lg_k, HllType::Hll8) {
            for coupon in self.coupons.drain(..) {
                sketch.update_with_coupon(coupon);
            }
            self.coupons.shrink_to_fit();
            self.sketch = Some(Box::new(sketch));
        }
    }

    fn read(bytes: &[u8]) -> Result<HllSketch, SketchError> {
        HllSketch::deserialize(bytes).map_err(corrupt(HLL))
    }

    // Whether bytes are the image of one coupon of this size and kind: told by the header alone, because the
    // groups of a fine rollup mostly hold one, and reading each takes longer than all else that is done with it.
    fn is_single(&self, bytes: &[u8]) -> bool {
        const COMPACT_NOT_EMPTY: u8 = 8;
        bytes.len() == 12
            && bytes.starts_with(&[2, 1, 7, self.lg_k, 3])
            && bytes.get(5..8) == Some(&[COMPACT_NOT_EMPTY, 1, 0])
    }

    // Whether a stored sketch can stand for its union with nothing: a few coupons, not empty, of this size
    // and kind. Byte 7 of every image holds its mode in the two lowest bits; 0 is the list of coupons.
    fn may_store(&self, bytes: &[u8], sketch: &HllSketch) -> bool {
        let list = bytes.get(7).is_some_and(|mode| mode & 3 == 0);
        list && !sketch.is_empty()
            && sketch.lg_config_k() == self.lg_k
            && sketch.target_type() == HllType::Hll4
    }

    /// Returns the estimated distinct count of a stored sketch.
    ///
    /// It depends on the registers only, never on the order in which they were filled, so that
    /// merged minutes give the same number as the day's own sketch.
    ///
    /// # Errors
    /// Bytes that are no HLL sketch.
    pub fn count(bytes: &[u8]) -> Result<f64, SketchError> {
        Ok(Self::read(bytes)?.composite_estimate())
    }

    /// Returns the lower and upper bound at two standard errors (about 95 %).
    ///
    /// # Errors
    /// Bytes that are no HLL sketch.
    pub fn bounds(bytes: &[u8]) -> Result<(f64, f64), SketchError> {
        let s = Self::read(bytes)?;
        let at = s.composite_estimate();
        Ok((s.lower_bound(NumStdDev::Two).min(at), s.upper_bound(NumStdDev::Two).max(at)))
    }
}

impl GroupSketch for Hll {
    type Shared = ();
    const SIZE: i64 = 14;

    fn empty(size: i64) -> Result<Self, SketchError> {
        let lg_k = u8::try_from(size).unwrap_or(u8::MAX);
        if !HLL_LG_K.contains(&lg_k) {
            let cause = "lg_k must lie in 4..=21".to_owned();
            return Err(SketchError::Size { kind: HLL, value: size, cause });
        }
        Ok(Self { lg_k, coupons: Vec::new(), sketch: None, union: None, stored: None })
    }

    fn update(&mut self, (): &mut (), value: Value<'_>) {
        if let Some(coupon) = Self::coupon(value) {
            self.add(coupon);
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<(), SketchError> {
        if self.union.is_none() && self.stored.is_none() && self.is_single(bytes) {
            self.stored = Some(bytes.into());
            return Ok(());
        }
        let other = Self::read(bytes)?;
        if self.union.is_none() {
            if self.stored.is_none() && self.may_store(bytes, &other) {
                self.stored = Some(bytes.into());
                return Ok(());
            }
            let union = HllUnion::new(self.lg_k).map_err(bad_size(HLL, i64::from(self.lg_k)))?;
            self.union = Some(Box::new(union));
        }
        let first = self.stored.take().map(|b| Self::read(&b)).transpose()?;
        if let Some(union) = &mut self.union {
            first.iter().for_each(|s| union.update(s));
            union.update(&other);
        }
        Ok(())
    }

    fn to_bytes(&self, (): &()) -> Result<Option<Vec<u8>>, SketchError> {
        let size = i64::from(self.lg_k);
        let mut own = None;
        if !self.coupons.is_empty() {
            let mut s = HllSketch::new(self.lg_k, HllType::Hll4).map_err(bad_size(HLL, size))?;
            self.coupons.iter().for_each(|c| s.update_with_coupon(*c));
            own = Some(s);
        }
        if self.union.is_none() && self.sketch.is_none() {
            match (&self.stored, &own) {
                (None, _) => return Ok(own.map(|s| s.serialize())),
                (Some(bytes), None) => return Ok(Some(bytes.to_vec())),
                (Some(_), Some(_)) => {}
            }
        }
        let mut union = HllUnion::new(self.lg_k).map_err(bad_size(HLL, size))?;
        if let Some(u) = &self.union {
            union.update(&u.to_sketch(HllType::Hll8));
        }
        if let Some(bytes) = &self.stored {
            union.update(&Self::read(bytes)?);
        }
        if let Some(s) = &self.sketch {
            union.update(s);
        }
        if let Some(s) = &own {
            union.update(s);
        }
        let out = union.to_sketch(HllType::Hll4);
        Ok((!out.is_empty()).then(|| out.serialize()))
    }

    fn heap_bytes(&self) -> usize {
        self.coupons.capacity() * size_of::<Coupon>()
            + self.stored.as_ref().map_or(0, |s| s.len())
            + self.sketch.as_ref().map_or(0, |s| s.estimated_size())
            + self.union.as_ref().map_or(0, |u| u.estimated_size())
    }
}

/// Theta distinct count; supports intersection and difference. `lg_k` 12: 1.6 % standard error.
#[derive(Debug)]
pub struct Theta {
    sketch: ThetaSketch,
    union: Option<Box<ThetaUnion>>,
    lg_k: u8,
}

const THETA: &str = "theta";

impl Theta {
    /// Returns a stored sketch in readable form.
    ///
    /// # Errors
    /// Bytes that are no Theta sketch.
    pub fn read(bytes: &[u8]) -> Result<CompactThetaSketch, SketchError> {
        CompactThetaSketch::deserialize(bytes).map_err(corrupt(THETA))
    }

    /// Returns the lower and upper bound at two standard errors (about 95 %).
    #[must_use]
    pub fn bounds(sketch: &CompactThetaSketch) -> (f64, f64) {
        (sketch.lower_bound(NumStdDev::Two), sketch.upper_bound(NumStdDev::Two))
    }
}

impl GroupSketch for Theta {
    type Shared = ();
    const SIZE: i64 = 12;

    fn empty(size: i64) -> Result<Self, SketchError> {
        let lg_k = u8::try_from(size).unwrap_or(u8::MAX);
        if !(5..=26).contains(&lg_k) {
            let cause = "lg_k must lie in 5..=26".to_owned();
            return Err(SketchError::Size { kind: THETA, value: size, cause });
        }
        let sketch = ThetaSketchBuilder::default().lg_k(lg_k).build().map_err(bad_size(THETA, size))?;
        Ok(Self { sketch, union: None, lg_k })
    }

    fn update(&mut self, (): &mut (), value: Value<'_>) {
        match value {
            Value::Str("") | Value::Bytes([]) => {}
            Value::Str(s) => self.sketch.update(raw_bytes::from_str(s)),
            Value::Bytes(b) => self.sketch.update(raw_bytes::from_slice(b)),
            Value::Int(i) => self.sketch.update(i),
            Value::Float(f) => {
                self.sketch.update(datasketches::hash::value::canonical_float::from_f64(f));
            }
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<(), SketchError> {
        let other = Self::read(bytes)?;
        if self.union.is_none() {
            let size = i64::from(self.lg_k);
            let union = ThetaUnionBuilder::default().lg_k(self.lg_k).build();
            self.union = Some(Box::new(union.map_err(bad_size(THETA, size))?));
        }
        if let Some(union) = &mut self.union {
            union.update(&other).map_err(corrupt(THETA))?;
        }
        Ok(())
    }

    fn to_bytes(&self, (): &()) -> Result<Option<Vec<u8>>, SketchError> {
        let Some(merged) = &self.union else {
            let empty = self.sketch.is_empty();
            return Ok((!empty).then(|| self.sketch.compact(true).serialize()));
        };
        let size = i64::from(self.lg_k);
        let mut union =
            ThetaUnionBuilder::default().lg_k(self.lg_k).build().map_err(bad_size(THETA, size))?;
        union.update(&merged.to_sketch(false)).map_err(corrupt(THETA))?;
        union.update(&self.sketch).map_err(corrupt(THETA))?;
        let out = union.to_sketch(true);
        Ok((!out.is_empty()).then(|| out.serialize()))
    }

    fn heap_bytes(&self) -> usize {
        self.sketch.estimated_size() + self.union.as_ref().map_or(0, |u| u.estimated_size())
    }
}

// --- quantiles -------------------------------------------------------------------------------

/// KLL quantiles of 32-bit floats; `k` 200: 1.33 % rank error at 99 % confidence.
#[derive(Debug)]
pub struct Kll {
    k: u16,
    buffer: Vec<f32>,
    sketch: Option<Box<KllSketch<KllFloat<f32>>>>,
}

const KLL: &str = "kll";
const KLL_BUFFER_MAX: usize = 128;

impl Kll {
    fn sketch_mut(&mut self) -> Result<&mut KllSketch<KllFloat<f32>>, SketchError> {
        let k = self.k;
        let mut sketch = match self.sketch.take() {
            Some(s) => s,
            None => Box::new(KllSketch::new(k).map_err(bad_size(KLL, i64::from(k)))?),
        };
        for v in self.buffer.drain(..) {
            if let Ok(v) = KllFloat::<f32>::new(v) {
                sketch.update(v);
            }
        }
        Ok(self.sketch.insert(sketch))
    }

    /// Returns a stored sketch in readable form.
    ///
    /// # Errors
    /// Bytes that are no KLL sketch of 32-bit floats.
    pub fn read(bytes: &[u8]) -> Result<KllSketch<KllFloat<f32>>, SketchError> {
        KllSketch::deserialize(bytes).map_err(corrupt(KLL))
    }

    /// Returns the value at `rank` (0 to 1), or `None` for an empty sketch or a rank outside.
    ///
    /// # Errors
    /// Bytes that are no KLL sketch.
    pub fn quantile(bytes: &[u8], rank: f64) -> Result<Option<f64>, SketchError> {
        if !(0.0..=1.0).contains(&rank) {
            return Ok(None);
        }
        let s = Self::read(bytes)?;
        let q = s.quantile(rank, SearchCriteria::Inclusive).map_err(corrupt(KLL))?;
        Ok(q.map(|v| f64::from(v.into_inner())))
    }

    /// Returns the values at `rank` minus and plus the normalised rank error.
    ///
    /// # Errors
    /// Bytes that are no KLL sketch.
    pub fn bounds(bytes: &[u8], rank: f64) -> Result<Option<(f64, f64)>, SketchError> {
        let s = Self::read(bytes)?;
        let e = if s.is_estimation_mode() { s.normalized_rank_error() } else { 0.0 };
        let at = |r: f64| s.quantile(r, SearchCriteria::Inclusive).map_err(corrupt(KLL));
        let (low, high) = (at((rank - e).max(0.0))?, at((rank + e).min(1.0))?);
        Ok(low.zip(high).map(|(l, h)| (f64::from(l.into_inner()), f64::from(h.into_inner()))))
    }
}

impl GroupSketch for Kll {
    type Shared = ();
    const SIZE: i64 = 200;

    fn empty(size: i64) -> Result<Self, SketchError> {
        let k = u16::try_from(size).unwrap_or(0);
        KllSketch::<KllFloat<f32>>::new(k).map_err(bad_size(KLL, size))?;
        Ok(Self { k, buffer: Vec::new(), sketch: None })
    }

    #[expect(clippy::cast_possible_truncation, reason = "stored as 32-bit floats by design")]
    fn update(&mut self, (): &mut (), value: Value<'_>) {
        let v = match value {
            Value::Float(f) => f as f32,
            Value::Int(i) => i as f32,
            Value::Str(_) | Value::Bytes(_) => return,
        };
        if v.is_nan() {
            return;
        }
        self.buffer.push(v);
        if self.buffer.len() >= KLL_BUFFER_MAX {
            // WHY: the size was checked in `empty`; on the impossible failure the buffer grows.
            let _ = self.sketch_mut();
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<(), SketchError> {
        let other = Self::read(bytes)?;
        self.sketch_mut()?.merge(&other).map_err(corrupt(KLL))
    }

    fn to_bytes(&self, (): &()) -> Result<Option<Vec<u8>>, SketchError> {
        let mut all = Self { k: self.k, buffer: self.buffer.clone(), sketch: self.sketch.clone() };
        let s = all.sketch_mut()?;
        Ok((!s.is_empty()).then(|| s.serialize()))
    }

    fn heap_bytes(&self) -> usize {
        let retained = self.sketch.as_ref().map_or(0, |s| s.num_retained() * 4 + 160);
        self.buffer.capacity() * 4 + retained
    }
}

// --- heavy hitters ---------------------------------------------------------------------------

/// Frequent items over strings; map size 256: every item above about 1.4 % of the rows is found.
#[derive(Debug)]
pub struct TopK {
    map_size: usize,
    small: Vec<(u32, u64)>,
    sketch: Option<Box<FrequentItemsSketch<String>>>,
}

/// Strings seen by one accumulator, each stored once.
#[derive(Debug, Default)]
pub struct Interner {
    ids: HashMap<Arc<str>, u32>,
    strings: Vec<Arc<str>>,
    bytes: usize,
}

impl Interner {
    fn id(&mut self, s: &str) -> Option<u32> {
        if let Some(id) = self.ids.get(s) {
            return Some(*id);
        }
        let id = u32::try_from(self.strings.len()).ok()?;
        let shared: Arc<str> = Arc::from(s);
        self.bytes += s.len() + 72;
        self.ids.insert(Arc::clone(&shared), id);
        self.strings.push(shared);
        Some(id)
    }
}

const TOP_K: &str = "top_k";
const SMALL_MAX: usize = 24;

impl TopK {
    fn new_sketch(&self) -> Result<FrequentItemsSketch<String>, SketchError> {
        let size = i64::try_from(self.map_size).unwrap_or(i64::MAX);
        FrequentItemsSketch::new(self.map_size).map_err(bad_size(TOP_K, size))
    }

    fn promote(&mut self, shared: &Interner) {
        // WHY: the size was checked in `empty`, so construction cannot fail here.
        if let Ok(mut sketch) = self.new_sketch() {
            for (id, n) in self.small.drain(..) {
                if let Some(s) = shared.strings.get(id as usize) {
                    sketch.update_with_count_ref(s.as_ref(), n);
                }
            }
            self.small = Vec::new();
            self.sketch = Some(Box::new(sketch));
        }
    }

    /// Returns the items of a stored sketch, most frequent first: item, estimate, lower and
    /// upper bound. All items whose upper bound could place them among the frequent are listed.
    ///
    /// # Errors
    /// Bytes that are no frequent-items sketch of strings.
    pub fn items(bytes: &[u8]) -> Result<Vec<(String, u64, u64, u64)>, SketchError> {
        let s = FrequentItemsSketch::<String>::deserialize(bytes).map_err(corrupt(TOP_K))?;
        let mut rows: Vec<_> = s
            .frequent_items(ErrorType::NoFalseNegatives)
            .iter()
            .map(|r| (r.item().clone(), r.estimate(), r.lower_bound(), r.upper_bound()))
            .collect();
        rows.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Ok(rows)
    }
}

impl GroupSketch for TopK {
    type Shared = Interner;
    const SIZE: i64 = 256;

    fn empty(size: i64) -> Result<Self, SketchError> {
        let map_size = usize::try_from(size).unwrap_or(0);
        let made = Self { map_size, small: Vec::new(), sketch: None };
        made.new_sketch()?;
        Ok(made)
    }

    fn update(&mut self, shared: &mut Interner, value: Value<'_>) {
        let text;
        let item = match value {
            Value::Str("") | Value::Bytes(_) => return,
            Value::Str(s) => s,
            Value::Int(i) => {
                text = i.to_string();
                &text
            }
            Value::Float(f) => {
                text = f.to_string();
                &text
            }
        };
        if let Some(sketch) = &mut self.sketch {
            return sketch.update_ref(item);
        }
        let Some(id) = shared.id(item) else { return };
        if let Some(entry) = self.small.iter_mut().find(|e| e.0 == id) {
            entry.1 += 1;
            return;
        }
        self.small.push((id, 1));
        if self.small.len() > SMALL_MAX {
            self.promote(shared);
        }
    }

    fn merge(&mut self, bytes: &[u8]) -> Result<(), SketchError> {
        let other = FrequentItemsSketch::<String>::deserialize(bytes).map_err(corrupt(TOP_K))?;
        // INVARIANT: an accumulator either updates or merges; `small` is empty while merging.
        let mut sketch = match self.sketch.take() {
            Some(s) => s,
            None => Box::new(self.new_sketch()?),
        };
        sketch.merge(&other);
        self.sketch = Some(sketch);
        Ok(())
    }

    fn to_bytes(&self, shared: &Interner) -> Result<Option<Vec<u8>>, SketchError> {
        if let Some(s) = &self.sketch {
            return Ok((!s.is_empty()).then(|| s.serialize()));
        }
        if self.small.is_empty() {
            return Ok(None);
        }
        let mut sketch = self.new_sketch()?;
        for (id, n) in &self.small {
            if let Some(s) = shared.strings.get(*id as usize) {
                sketch.update_with_count_ref(s.as_ref(), *n);
            }
        }
        Ok(Some(sketch.serialize()))
    }

    fn heap_bytes(&self) -> usize {
        self.small.capacity() * size_of::<(u32, u64)>()
            + self.sketch.as_ref().map_or(0, |s| s.estimated_size())
    }

    fn shared_bytes(shared: &Interner) -> usize {
        shared.bytes
    }
}
