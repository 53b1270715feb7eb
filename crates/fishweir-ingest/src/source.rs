//! Source definitions: small TOML files that say how a log becomes a stream.

use std::collections::BTreeMap;

use fishweir_events::Stream;
use serde::Deserialize;
use thiserror::Error;

/// How the bytes of a file are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// Common or combined access log.
    AccessLog,
    /// One JSON object per line.
    Ndjson,
    /// Delimited text.
    Csv,
    /// Parquet.
    Parquet,
    /// Parquet or NDJSON, told apart by the first bytes.
    Auto,
}

/// Where column names of delimited text come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Header {
    /// The first line.
    #[default]
    FirstLine,
    /// The `columns` key.
    None,
    /// A comment line that begins with `#Fields:`.
    FieldsComment,
}

/// Which stream the rows belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceStream {
    /// Always the same.
    Fixed(Stream),
    /// Named by the file or a folder above it.
    FromPath,
}

/// A parsed source definition.
#[derive(Clone, Debug)]
pub struct Source {
    /// Name, stored with every row.
    pub name: String,
    /// Target stream.
    pub stream: SourceStream,
    /// File format.
    pub format: Format,
    /// Service of rows that name none.
    pub service: String,
    /// Canonical column to SQL expression; empty maps equal names.
    pub map: BTreeMap<String, String>,
    /// Delimiter of `csv`.
    pub delimiter: u8,
    /// Whether `csv` cells may be quoted.
    pub quote: bool,
    /// Origin of column names.
    pub header: Header,
    /// Column names when `header = "none"`.
    pub columns: Vec<String>,
    /// First byte of comment lines.
    pub comment: Option<u8>,
    /// Whether ids in the file already are pseudonyms of our key.
    pub ids_are_pseudonyms: bool,
}

/// A source definition that cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The file is no valid definition.
    #[error("source file `{file}`: {cause}")]
    Parse {
        /// Where it was read from.
        file: String,
        /// Parser message with line and column.
        cause: String,
    },
    /// A value is not allowed.
    #[error("source file `{file}`: {key}: {cause}")]
    Value {
        /// Where it was read from.
        file: String,
        /// Key.
        key: &'static str,
        /// What is wrong.
        cause: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    stream: String,
    format: Format,
    #[serde(default = "default_service")]
    service: String,
    #[serde(default)]
    map: BTreeMap<String, String>,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default = "yes")]
    quote: bool,
    #[serde(default)]
    header: Header,
    #[serde(default)]
    columns: Vec<String>,
    comment: Option<char>,
    #[serde(default)]
    ids: Ids,
}

#[derive(Default, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
enum Ids {
    #[default]
    Clear,
    Pseudonyms,
}

fn default_service() -> String {
    "default".to_owned()
}
const fn comma() -> char {
    ','
}
const fn yes() -> bool {
    true
}

impl Source {
    /// Returns the definition in TOML text; `file` names it in errors.
    ///
    /// # Errors
    /// Unknown keys, wrong types, unknown stream, canonical columns that do not exist.
    pub fn parse(file: &str, text: &str) -> Result<Self, SourceError> {
        let raw: Raw = toml::from_str(text)
            .map_err(|e| SourceError::Parse { file: file.to_owned(), cause: e.to_string() })?;
        let value = |key, cause: String| SourceError::Value { file: file.to_owned(), key, cause };
        let byte = |key, c: char| u8::try_from(c).map_err(|_| value(key, format!("`{c}` is no single byte")));
        let stream = if raw.stream == "auto" {
            SourceStream::FromPath
        } else {
            let s: Stream = raw
                .stream
                .parse()
                .map_err(|e: fishweir_events::UnknownStreamError| value("stream", e.to_string()))?;
            for column in raw.map.keys() {
                if s.schema().field_with_name(column).is_err() {
                    return Err(value("map", format!("stream `{s}` has no column `{column}`")));
                }
            }
            SourceStream::Fixed(s)
        };
        if raw.format == Format::Csv && raw.header == Header::None && raw.columns.is_empty() {
            return Err(value("columns", "needed when header = \"none\"".to_owned()));
        }
        Ok(Self {
            name: raw.name,
            stream,
            format: raw.format,
            service: raw.service,
            map: raw.map,
            delimiter: byte("delimiter", raw.delimiter)?,
            quote: raw.quote,
            header: raw.header,
            columns: raw.columns,
            comment: raw.comment.map(|c| byte("comment", c)).transpose()?,
            ids_are_pseudonyms: raw.ids == Ids::Pseudonyms,
        })
    }

    /// Returns the shipped definitions: name and text.
    #[must_use]
    pub fn shipped() -> [(&'static str, &'static str); 5] {
        [
            ("access-log", include_str!("../sources/access-log.toml")),
            ("nginx-json", include_str!("../sources/nginx-json.toml")),
            ("aws-alb", include_str!("../sources/aws-alb.toml")),
            ("cloudfront", include_str!("../sources/cloudfront.toml")),
            ("fishweir", include_str!("../sources/fishweir.toml")),
        ]
    }
}
