//! Text to number: keys that joins can hold cheaply.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};

/// Returns `hash64(text)`: the first eight bytes of the text's BLAKE3 hash as `Int64`.
///
/// The same text gives the same number on every machine and in every version. Null in, null out.
#[must_use]
pub fn hash_function() -> ScalarUDF {
    ScalarUDF::from(Hash64 { signature: Signature::any(1, Volatility::Immutable) })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Hash64 {
    signature: Signature,
}

impl ScalarUDFImpl for Hash64 {
    fn name(&self) -> &str {
        "hash64"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        Ok(DataType::Int64)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let Some(first) = args.args.into_iter().next() else {
            return Ok(ColumnarValue::Array(Arc::new(Int64Array::new_null(rows))));
        };
        let texts = first.into_array(rows)?;
        let numbers = match texts.data_type() {
            DataType::Utf8View => numbers(texts.as_string_view().iter()),
            DataType::Utf8 => numbers(texts.as_string::<i32>().iter()),
            _ => numbers(cast(&texts, &DataType::Utf8)?.as_string::<i32>().iter()),
        };
        Ok(ColumnarValue::Array(Arc::new(numbers)))
    }
}

fn numbers<'a>(texts: impl Iterator<Item = Option<&'a str>>) -> Int64Array {
    let mut memo = Memo::new();
    texts.map(|t| t.map(|t| memo.hash64(t))).collect()
}

/// The numbers of texts met lately. WHY: fingerprints, agents and countries come again and again, and to find one here takes a
/// fraction of the time of its hash; a text that never comes again hardly notices.
struct Memo<'a>(Vec<(&'a str, i64)>);

impl<'a> Memo<'a> {
    const SLOTS: usize = 512;

    fn new() -> Self {
        Self(vec![("", hash64("")); Self::SLOTS])
    }

    fn hash64(&mut self, text: &'a str) -> i64 {
        let slot = &mut self.0[Self::slot(text)];
        if slot.0 != text {
            *slot = (text, hash64(text));
        }
        slot.1
    }

    // By length, beginning and end: cheap, and different for most texts that stand in one column.
    fn slot(text: &str) -> usize {
        let bytes = text.as_bytes();
        let n = bytes.len().min(8);
        let word = |part: &[u8]| {
            let mut eight = [0; 8];
            eight[..n].copy_from_slice(part);
            u64::from_le_bytes(eight)
        };
        let (head, tail) = (word(&bytes[..n]), word(&bytes[bytes.len() - n..]));
        let mixed = (head.rotate_left(25) ^ tail ^ bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (mixed >> 55) as usize % Self::SLOTS
    }
}

/// Returns the first eight bytes of the BLAKE3 hash of a text, little-endian: what SQL calls `hash64`.
#[must_use]
pub fn hash64(text: &str) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..8]);
    i64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        // The first bytes of the published BLAKE3 hash of the empty input are af 13 49 b9 f5 f9 a1 a6.
        assert_eq!(hash64(""), i64::from_le_bytes([0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6]));
        assert_ne!(hash64("a"), hash64("b"));
    }

    #[test]
    fn what_is_remembered_is_what_is_computed() {
        let texts: Vec<String> = (0..5_000).map(|k| "xé".repeat(k % 23) + &(k % 700).to_string()).collect();
        let all = texts.iter().map(String::as_str).chain(["", "a", "", "b", "a"]);
        let got = numbers(all.clone().map(Some).chain([None]));
        let expected: Int64Array = all.map(|t| Some(hash64(t))).chain([None]).collect();
        assert_eq!(got, expected);
    }
}
