//! Chores of the project: `cargo xtask test | browser | tidy | ci`.

mod browser;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Result, bail};

const USAGE: &str = "usage: cargo xtask <command>
  test   formatting, tidy rules and every test; pages in a browser where there is one
  browser  only the tests of the pages in a real browser
  tidy   only the tidy rules
  ci     test, then clippy and rustdoc with warnings as errors";

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let done = match task.as_str() {
        "test" => test(),
        "browser" => build().and_then(|()| browser::run(&root(), &target())),
        "tidy" => tidy::run(&root()),
        "ci" => test().and_then(|()| lint()),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> PathBuf {
    // As cargo says at run time: a build folder shared between checkouts may hold an xtask that was built in another one.
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

fn test() -> Result<()> {
    // A toolchain without rustfmt can still pass the tests.
    if cargo(&["fmt", "--version"]).is_ok() {
        cargo(&["fmt", "--all", "--check"])?;
    }
    tidy::run(&root())?;
    cargo(&["test", "--workspace"])?;
    browser::run(&root(), &target())
}

fn build() -> Result<()> {
    // As the tests do, so that nothing is compiled twice for other features.
    cargo(&["test", "--workspace", "--no-run"])
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

fn lint() -> Result<()> {
    cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let status = quiet_cargo()
        .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()?;
    if !status.success() {
        bail!("rustdoc found problems");
    }
    Ok(())
}

// Without what cargo told us of this package: some build scripts look at it, and would make everything
// above them compile again whenever cargo is called directly in between.
fn quiet_cargo() -> Command {
    let mut cargo = Command::new(env!("CARGO"));
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&name);
        }
    }
    cargo.current_dir(root());
    cargo
}

fn cargo(args: &[&str]) -> Result<()> {
    let status = quiet_cargo().args(args).status()?;
    if !status.success() {
        bail!("cargo {} failed", args.join(" "));
    }
    Ok(())
}
