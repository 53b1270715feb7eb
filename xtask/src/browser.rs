//! The dashboard in a real browser, over a small simulated world.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

const STREAMS: &[&str] = &["requests", "logins", "account_changes", "contacts", "health", "notes"];
const BROWSERS: &[&str] = &["chromium", "chromium-browser", "google-chrome"];

/// Runs the browser tests, or says why they are skipped.
pub(crate) fn run(root: &Path, target: &Path) -> Result<()> {
    if !works("node", "--version") || !works("npm", "--version") {
        println!("skipped: browser tests need node and npm");
        return Ok(());
    }
    let Some(browser) = chromium() else {
        println!("skipped: browser tests need Chromium, which is not here and cannot be installed");
        return Ok(());
    };
    let ui = root.join("ui");
    let mut npm = Command::new("npm");
    npm.args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&ui);
    if !npm.status().is_ok_and(|s| s.success()) {
        println!("skipped: browser tests need packages that npm cannot fetch now");
        return Ok(());
    }
    expect(Command::new("npm").args(["run", "--silent", "check"]).current_dir(&ui), "types of the scripts")?;
    let program = target.join("debug/fishweir");
    let world = world(&program, &ui, &target.join("browser-world"))?;
    let (mut server, url) = serve(&program, &world)?;
    let tested = Command::new("node")
        .args(["--test", "--test-reporter=spec", "tests/"])
        .current_dir(&ui)
        .env("FISHWEIR_URL", url)
        .env("FISHWEIR_CHROME", browser)
        .status();
    let _ = server.kill();
    let _ = server.wait();
    if tested?.success() { Ok(()) } else { bail!("browser tests failed") }
}

fn works(program: &str, arg: &str) -> bool {
    let tried = Command::new(program).arg(arg).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|s| s.success())
}

fn chromium() -> Option<PathBuf> {
    let folders: Vec<PathBuf> =
        std::env::var_os("PATH").map(|p| std::env::split_paths(&p).collect()).unwrap_or_default();
    let find = || {
        let all = BROWSERS.iter().flat_map(|b| folders.iter().map(move |f| f.join(b)));
        all.into_iter().find(|p| p.is_file())
    };
    find().or_else(|| {
        println!("installing Chromium for the browser tests");
        let install = "apt-get update -qq && apt-get install -y -qq chromium";
        let _ = Command::new("sh").args(["-c", install]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        find()
    })
}

fn expect(command: &mut Command, what: &str) -> Result<()> {
    let status = command.status().with_context(|| what.to_owned())?;
    if !status.success() {
        bail!("{what}: failed");
    }
    Ok(())
}

// Made anew each time: the program that is tested makes it.
fn world(program: &Path, ui: &Path, folder: &Path) -> Result<PathBuf> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    let (events, project) = (folder.join("world"), folder.join("project"));
    fs::create_dir_all(folder)?;
    let text = |p: &Path| p.to_string_lossy().into_owned();
    let run = |args: &[&str]| {
        let mut c = Command::new(program);
        c.args(["--quiet", "--now", "2026-10-11T00:00:00Z", "--project", &text(&project)]).args(args);
        expect(c.stdout(Stdio::null()).stderr(Stdio::null()), &args.join(" "))
    };
    let scenario = text(&ui.join("tests/world.toml"));
    let size = ["--days", "6", "--accounts", "250", "--start", "2026-10-05", "--seed", "3"];
    run(&[&["simulate", "--scenario", &scenario, "--out", &text(&events)][..], &size[..]].concat())?;
    run(&["init"])?;
    for stream in STREAMS.iter().filter(|s| events.join("events").join(s).is_dir()) {
        let files = text(&events.join(format!("events/{stream}/*/*.parquet")));
        run(&["ingest", "--source", "fishweir", &files])?;
    }
    run(&["run"])?;
    Ok(project)
}

fn serve(program: &Path, project: &Path) -> Result<(Child, String)> {
    let mut server = Command::new(program)
        .args(["--now", "2026-10-11T00:00:00Z", "--project"])
        .arg(project)
        .args(["serve", "--port", "0", "--no-sql", "--no-run"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let out = server.stdout.take().context("no output of the server")?;
    let mut lines = BufReader::new(out).lines();
    let first = lines.next().context("the server said nothing")??;
    // Alerts go to standard output: a full pipe would stop the server.
    std::thread::spawn(move || lines.for_each(drop));
    let url = first.strip_prefix("dashboard: ").context("the server did not say where it is")?.to_owned();
    Ok((server, url))
}
