//! Bodies of batches: how they are packed, and whose lines they hold.

use std::collections::BTreeMap;
use std::io::Read as _;

use axum::http::{HeaderMap, StatusCode, header};
use fishweir_events::Stream;
use fishweir_ingest::Refused;

use crate::problem::Problem;

/// How a body is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Plain,
    Gzip,
    Zstd,
}

pub(crate) fn packing(headers: &HeaderMap) -> Result<Packing, Problem> {
    match headers.get(header::CONTENT_ENCODING).map(|v| v.to_str().unwrap_or("?")) {
        None | Some("identity") => Ok(Packing::Plain),
        Some("gzip") => Ok(Packing::Gzip),
        Some("zstd") => Ok(Packing::Zstd),
        Some(other) => Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            format!("Content-Encoding `{other}` is not read\nhint: gzip, zstd or none"),
        )),
    }
}

pub(crate) fn unpack(packing: Packing, body: &[u8], limit: usize) -> Result<Vec<u8>, Problem> {
    let mut out = Vec::new();
    let most = limit as u64 + 1;
    let done = match packing {
        Packing::Plain => {
            out.extend_from_slice(body);
            Ok(0)
        }
        Packing::Gzip => flate2::read::MultiGzDecoder::new(body).take(most).read_to_end(&mut out),
        Packing::Zstd => {
            zstd::stream::read::Decoder::new(body).and_then(|d| d.take(most).read_to_end(&mut out))
        }
    };
    done.map_err(|e| Problem::bad(format!("the body does not unpack: {e}")))?;
    if out.len() > limit {
        return Err(Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body unpacks to more than {limit} bytes"),
        ));
    }
    Ok(out)
}

/// The lines of a batch that belong to one stream, and where in the batch each stood.
#[derive(Default)]
pub(crate) struct OwnLines {
    pub(crate) bytes: Vec<u8>,
    places: Vec<(u64, u64)>,
}

impl OwnLines {
    /// Returns lines that are the whole batch.
    pub(crate) fn whole(bytes: Vec<u8>) -> Self {
        Self { bytes, places: Vec::new() }
    }

    /// Says where in the batch a refused row stood.
    pub(crate) fn place(&self, refused: &mut Refused) {
        let nth = usize::try_from(refused.line.saturating_sub(1)).unwrap_or(usize::MAX);
        if let Some((line, offset)) = self.places.get(nth) {
            (refused.line, refused.offset) = (*line, *offset);
        }
    }
}

/// Returns the lines of each stream, and those that name none. The name stands near the start of a line,
/// as our own writers put it, or anywhere at the cost of a parse.
pub(crate) fn split(lines: &[u8]) -> (BTreeMap<Stream, OwnLines>, Vec<Refused>) {
    let mut out: BTreeMap<Stream, OwnLines> = BTreeMap::new();
    let mut unknown = Vec::new();
    let mut offset = 0;
    for (number, line) in (1..).zip(lines.split_inclusive(|b| *b == b'\n')) {
        if !line.iter().all(u8::is_ascii_whitespace) {
            match stream_of(line) {
                Ok(stream) => {
                    let own = out.entry(stream).or_default();
                    own.bytes.extend_from_slice(line);
                    own.places.push((number, offset));
                }
                Err(reason) => unknown.push(Refused { line: number, offset, reason, excerpt: String::new() }),
            }
        }
        offset += line.len() as u64;
    }
    (out, unknown)
}

fn stream_of(line: &[u8]) -> Result<Stream, String> {
    const KEY: &[u8] = b"\"stream\":\"";
    let near = line.windows(KEY.len()).take(256).position(|w| w == KEY).and_then(|i| {
        let rest = &line[i + KEY.len()..];
        let end = rest.iter().position(|b| *b == b'"')?;
        std::str::from_utf8(&rest[..end]).ok()
    });
    if let Some(name) = near {
        return name.parse().map_err(|e: fishweir_events::UnknownStreamError| e.to_string());
    }
    let value: serde_json::Value = serde_json::from_slice(line).map_err(|e| format!("no JSON: {e}"))?;
    match value.get("stream").and_then(serde_json::Value::as_str) {
        Some(name) => name.parse().map_err(|e: fishweir_events::UnknownStreamError| e.to_string()),
        None => Err("the line names no `stream`; post it to /api/v1/events/STREAM instead".to_owned()),
    }
}
