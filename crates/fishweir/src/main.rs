//! The `fishweir` command line: one file per command, data on stdout, messages on stderr.

mod cli;
mod commands;
mod output;
mod progress;
mod project;
mod score;
mod shipped;

use std::process::ExitCode;

use clap::Parser as _;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keep_freed_memory();
    // What spills is one file a batch, each open until it is read. Where the limit cannot be raised it stays.
    let _ = rlimit::increase_nofile_limit(u64::MAX);
    let cli = cli::Cli::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(r) => r,
        Err(e) => {
            eprintln!("error: cannot start: {e}");
            return ExitCode::from(output::FAILED);
        }
    };
    match runtime.block_on(commands::run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(e) if output::is_broken_pipe(&e) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::from(output::FAILED)
        }
    }
}

// The allocator gives freed pages back after 10 ms, and ingest frees and takes megabytes more often
// than that: a third of its time went into page faults. The delay can only be set before the
// program starts, so it starts itself once more.
#[cfg(unix)]
fn keep_freed_memory() {
    use std::os::unix::process::CommandExt as _;
    const DELAY: &str = "MIMALLOC_PURGE_DELAY";
    if std::env::var_os(DELAY).is_some() {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Only returns when it fails; then the program goes on as it is.
        let _ =
            std::process::Command::new(program).args(std::env::args_os().skip(1)).env(DELAY, "2000").exec();
    }
}

#[cfg(not(unix))]
fn keep_freed_memory() {}
