//! Rules of the code that no compiler checks: who may import whom, sizes, stray files.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Crate and the crates of this project that it may import. Arrows point one way.
const IMPORTS: &[(&str, &[&str])] = &[
    (
        "fishweir",
        &[
            "server", "report", "labels", "metrics", "pipeline", "ingest", "lake", "engine", "detect",
            "events", "sim",
        ],
    ),
    (
        "fishweir-server",
        &["report", "metrics", "labels", "pipeline", "detect", "ingest", "lake", "engine", "events"],
    ),
    ("fishweir-report", &["metrics"]),
    ("fishweir-metrics", &["pipeline", "engine", "lake", "detect"]),
    ("fishweir-labels", &["detect", "pipeline", "engine", "lake"]),
    ("fishweir-pipeline", &["engine", "lake", "events"]),
    ("fishweir-detect", &[]),
    ("fishweir-ingest", &["lake", "events"]),
    ("fishweir-lake", &["events"]),
    ("fishweir-engine", &[]),
    ("fishweir-events", &[]),
    ("fishweir-sim", &["events"]),
    ("xtask", &[]),
];

/// Functions that may be longer than the limit, with the reason.
const LONG_FUNCTIONS: &[(&str, &str)] = &[
    ("compare", "one statement with eleven aggregates and what follows from them"),
    ("incident_rows", "one line per column of a wide table"),
    ("simple", "one arm per aggregate"),
    ("tables", "one line per column of three tables"),
    ("minute_rows", "one line per column"),
    ("finish", "the canonical batch is assembled in one place"),
    ("delimited", "one pass over the records of a chunk"),
    ("describe", "everything known about one incident, in order"),
    ("plan", "one verdict per hour, in reading order"),
    ("plans", "one arm per kind of happening"),
    ("check_ranges", "one block per column"),
    ("begin", "one literal"),
    ("commit", "the order of the three commits must be seen at once"),
    ("certify", "the certificate is decided in one place"),
    ("serve", "load, latency and errors of one service follow from each other"),
    ("flood", "one arm per kind of flood"),
    ("parquet", "the row-numbered twin of the text loop"),
    ("text", "the read-ahead loop"),
    ("run", "the demo from end to end"),
    ("simulate", "one pass over days and files"),
];

const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
const DOC_LINES_MAX: usize = 300;

pub(crate) fn run(root: &Path) -> Result<()> {
    let mut problems = Vec::new();
    let crates = members(root)?;
    for (name, dir) in &crates {
        imports(name, dir, &mut problems)?;
        for file in sources(&dir.join("src"))? {
            source(root, &file, &mut problems)?;
        }
    }
    for (name, _) in IMPORTS {
        if !crates.contains_key(*name) {
            problems.push(format!("tidy: `{name}` is in the import table but does not exist"));
        }
    }
    reasons(root, &mut problems)?;
    let architecture = fs::read_to_string(root.join("ARCHITECTURE.md")).context("ARCHITECTURE.md")?;
    if architecture.lines().count() > DOC_LINES_MAX {
        problems.push(format!("ARCHITECTURE.md is longer than {DOC_LINES_MAX} lines"));
    }
    for name in crates.keys().filter(|n| *n != "xtask") {
        if !architecture.contains(&format!("`{name}`")) {
            problems.push(format!("ARCHITECTURE.md does not mention `{name}`"));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    bail!("{}", problems.join("\n"))
}

fn members(root: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut out = BTreeMap::from([("xtask".to_owned(), root.join("xtask"))]);
    for entry in fs::read_dir(root.join("crates"))? {
        let dir = entry?.path();
        if let Some(name) = dir.file_name().and_then(|n| n.to_str()) {
            out.insert(name.to_owned(), dir.clone());
        }
    }
    Ok(out)
}

fn imports(name: &str, dir: &Path, problems: &mut Vec<String>) -> Result<()> {
    let Some((_, allowed)) = IMPORTS.iter().find(|(n, _)| *n == name) else {
        problems.push(format!("crate `{name}` is not in the import table of xtask/src/tidy.rs"));
        return Ok(());
    };
    let manifest = fs::read_to_string(dir.join("Cargo.toml"))?;
    for line in manifest.lines() {
        let Some(rest) = line.strip_prefix("fishweir-") else { continue };
        let other = rest.split(['.', ' ', '=']).next().unwrap_or_default();
        if !allowed.contains(&other) {
            problems.push(format!(
                "`{name}` must not import `fishweir-{other}`: arrows point down the table in ARCHITECTURE.md"
            ));
        }
    }
    Ok(())
}

fn sources(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut out = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path.is_dir() {
            out.extend(sources(&path)?);
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
    Ok(out)
}

fn source(root: &Path, file: &Path, problems: &mut Vec<String>) -> Result<()> {
    let text = fs::read_to_string(file)?;
    let shown = file.strip_prefix(root).unwrap_or(file).display().to_string();
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    if code.lines().count() > FILE_LINES_MAX {
        problems.push(format!("{shown}: longer than {FILE_LINES_MAX} lines"));
    }
    if !text.starts_with("//!") && !shown.contains("/tests") {
        problems.push(format!("{shown}: must begin with a //! line that says what lives here"));
    }
    if shown.ends_with("mod.rs") {
        problems.push(format!("{shown}: use `name.rs` beside `name/` instead of mod.rs"));
    }
    let mut open: Option<(String, usize, usize)> = None;
    for (i, line) in code.lines().enumerate() {
        if line.ends_with(char::is_whitespace) {
            problems.push(format!("{shown}:{}: trailing space", i + 1));
        }
        let indent = line.len() - line.trim_start().len();
        if open.is_none()
            && let Some(name) = function(line)
        {
            open = Some((name, i, indent));
        } else if let Some((name, start, at)) = &open
            && indent == *at
            && line.trim_end() == format!("{}}}", " ".repeat(*at))
        {
            let long = i - start + 1 > FUNCTION_LINES_MAX;
            if long && !LONG_FUNCTIONS.iter().any(|(n, _)| n == name) {
                problems.push(format!(
                    "{shown}:{}: `{name}` is longer than {FUNCTION_LINES_MAX} lines",
                    start + 1
                ));
            }
            open = None;
        }
    }
    Ok(())
}

fn function(line: &str) -> Option<String> {
    let text = line.trim_start();
    let starts = ["fn ", "pub fn ", "pub(crate) fn ", "async fn ", "pub async fn ", "pub(crate) async fn "];
    let rest = starts.iter().find_map(|s| text.strip_prefix(s))?;
    if text.ends_with(';') || text.ends_with('}') {
        return None;
    }
    Some(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect())
}

// Each dependency of the root manifest says why it is there.
fn reasons(root: &Path, problems: &mut Vec<String>) -> Result<()> {
    let manifest = fs::read_to_string(root.join("Cargo.toml"))?;
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap_or_default();
    for line in section.split("\n[").next().unwrap_or_default().lines() {
        if line.contains('=') && !line.starts_with("fishweir-") && !line.contains(" # ") {
            problems
                .push(format!("Cargo.toml: say why behind `{}`", line.split(' ').next().unwrap_or_default()));
        }
    }
    Ok(())
}
