//! Bundles the scripts of the dashboard with npm. Without npm, or without its registry, the server is
//! built all the same: pages work without scripts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let crate_dir = PathBuf::from(env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?);
    let ui = crate_dir.join("../../ui");
    for part in ["src", "package.json", "package-lock.json", "build.mjs", "tsconfig.json"] {
        println!("cargo:rerun-if-changed={}", ui.join(part).display());
    }
    println!("cargo:rerun-if-env-changed=FISHWEIR_NO_NPM");
    let out = PathBuf::from(env::var("OUT_DIR").map_err(io::Error::other)?).join("app.js");
    let skipped = env::var_os("FISHWEIR_NO_NPM").is_some();
    match if skipped { Err("FISHWEIR_NO_NPM is set".to_owned()) } else { bundle(&ui, &out) } {
        Ok(()) => Ok(()),
        Err(why) => {
            println!("cargo:warning=the dashboard is built without scripts: {why}");
            fs::write(out, "")
        }
    }
}

// In a copy, so that the sources stay as they are and two builds do not meet.
fn bundle(ui: &Path, out: &Path) -> Result<(), String> {
    let work = out.with_file_name("ui");
    let tell = |e: io::Error| e.to_string();
    fs::create_dir_all(work.join("src")).map_err(tell)?;
    for file in ["package.json", "package-lock.json", ".npmrc", "build.mjs", "tsconfig.json"] {
        fs::copy(ui.join(file), work.join(file)).map_err(tell)?;
    }
    for entry in fs::read_dir(ui.join("src")).map_err(tell)? {
        let path = entry.map_err(tell)?.path();
        if let Some(name) = path.file_name() {
            fs::copy(&path, work.join("src").join(name)).map_err(tell)?;
        }
    }
    npm(&work, &["ci", "--no-audit", "--no-fund", "--omit=dev"])?;
    npm(&work, &["run", "--silent", "build"])?;
    fs::copy(work.join("dist/app.js"), out).map(drop).map_err(tell)
}

fn npm(folder: &Path, args: &[&str]) -> Result<(), String> {
    let out = Command::new("npm").args(args).current_dir(folder).output().map_err(|e| format!("npm: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&out.stderr);
    Err(format!("npm {}: {}", args.join(" "), text.lines().next().unwrap_or("failed")))
}
