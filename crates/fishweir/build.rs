//! Embeds the shipped models, metrics, labelling functions and alert rules, so that the binary needs no files beside it.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?).join("../..");
    let mut out = String::new();
    for (name, folder) in
        [("MODELS", "models"), ("METRICS", "metrics"), ("LABELS", "labels"), ("ALERTS", "alerts")]
    {
        println!("cargo:rerun-if-changed={}", root.join(folder).display());
        let mut files = Vec::new();
        walk(&root.join(folder), &mut files)?;
        files.sort();
        let _ = writeln!(out, "pub(crate) const {name}: &[(&str, &str)] = &[");
        for file in files {
            let relative = file.strip_prefix(root.join(folder)).map_err(io::Error::other)?;
            let relative = relative.to_string_lossy().replace('\\', "/");
            let _ = writeln!(out, "({:?}, include_str!({:?})),", relative, file.canonicalize()?);
        }
        out.push_str("];\n");
    }
    let target = Path::new(&env::var("OUT_DIR").map_err(io::Error::other)?).join("shipped.rs");
    fs::write(target, out)
}

fn walk(folder: &Path, out: &mut Vec<PathBuf>) -> io::Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, out)?;
        } else if path.extension().is_some_and(|e| e == "sql" || e == "yaml") {
            out.push(path);
        }
    }
    Ok(())
}
