//! Opening inputs: patterns, compression, progress.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// An input that cannot be used; names it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum InputError {
    /// Nothing is there.
    #[error("`{0}`: no such file")]
    Missing(String),
    /// A pattern that matches nothing.
    #[error("`{0}`: no file matches this pattern")]
    NoMatch(String),
    /// A pattern that is none.
    #[error("`{pattern}`: not a file pattern: {cause}")]
    Pattern {
        /// As given.
        pattern: String,
        /// What is wrong.
        cause: String,
    },
    /// The system refused.
    #[error("`{file}`: {cause}")]
    Io {
        /// File.
        file: String,
        /// What the system said.
        cause: String,
    },
    /// A folder where a file is needed.
    #[error("`{0}`: is a folder; give a pattern such as `{0}/*.log`")]
    Folder(String),
}

impl InputError {
    pub(crate) fn io(file: &Path, e: &io::Error) -> Self {
        let file = file.display().to_string();
        match e.kind() {
            io::ErrorKind::NotFound => Self::Missing(file),
            io::ErrorKind::PermissionDenied => {
                Self::Io { file, cause: "no permission to read it".to_owned() }
            }
            _ => Self::Io { file, cause: e.to_string() },
        }
    }
}

/// One input: a file or standard input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    File(PathBuf),
    Stdin,
}

impl Input {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::File(p) => p.display().to_string(),
            Self::Stdin => "-".to_owned(),
        }
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        match self {
            Self::File(p) => std::fs::metadata(p).map_or(0, |m| m.len()),
            Self::Stdin => 0,
        }
    }
}

/// Returns the inputs that the arguments name, in order, each once; `-` is standard input.
pub(crate) fn expand(patterns: &[String]) -> Vec<Result<Input, InputError>> {
    let mut out: Vec<Result<Input, InputError>> = Vec::new();
    let push = |out: &mut Vec<Result<Input, InputError>>, i: Input| {
        if !out.iter().any(|o| matches!(o, Ok(x) if *x == i)) {
            out.push(Ok(i));
        }
    };
    for pattern in patterns {
        if pattern == "-" {
            push(&mut out, Input::Stdin);
            continue;
        }
        let plain = Path::new(pattern);
        if plain.exists() || !pattern.contains(['*', '?', '[']) {
            match std::fs::metadata(plain) {
                Ok(m) if m.is_dir() => out.push(Err(InputError::Folder(pattern.clone()))),
                Ok(_) => push(&mut out, Input::File(plain.to_owned())),
                Err(e) => out.push(Err(InputError::io(plain, &e))),
            }
            continue;
        }
        match glob::glob(pattern) {
            Err(e) => out.push(Err(InputError::Pattern { pattern: pattern.clone(), cause: e.to_string() })),
            Ok(paths) => {
                let mut found: Vec<_> = paths.flatten().filter(|p| p.is_file()).collect();
                found.sort();
                if found.is_empty() {
                    out.push(Err(InputError::NoMatch(pattern.clone())));
                }
                found.into_iter().for_each(|p| push(&mut out, Input::File(p)));
            }
        }
    }
    out
}

struct Counting<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}

/// Returns the decompressed bytes of an input; `count` follows the bytes read from storage.
/// Compression is recognised by the first bytes, whatever the name says.
pub(crate) fn open(input: &Input, count: Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let raw: Box<dyn Read + Send> = match input {
        Input::File(p) => Box::new(File::open(p)?),
        Input::Stdin => Box::new(io::stdin()),
    };
    decompress(Counting { inner: raw, count })
}

fn decompress(mut raw: impl Read + Send + 'static) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = Vec::with_capacity(4);
    (&mut raw).take(4).read_to_end(&mut magic)?;
    let kind = magic.clone();
    let whole = BufReader::with_capacity(1 << 20, io::Cursor::new(magic).chain(raw));
    Ok(match kind.as_slice() {
        [0x1f, 0x8b, ..] => Box::new(flate2::bufread::MultiGzDecoder::new(whole)),
        [0x28, 0xb5, 0x2f, 0xfd] => Box::new(zstd::Decoder::with_buffer(whole)?),
        _ => Box::new(whole),
    })
}
