//! The command line as its users meet it: real files in, tables and reports out.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step is a failed test")]

mod accounts;
mod crash;
mod files;
mod first_days;
mod hostile;
mod project;
mod reports;
mod retention;
mod rules;
mod serve;
mod served;
mod simulate;
mod study;
mod weblog;
