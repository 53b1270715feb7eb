//! The command line as its users meet it: real files in, tables and reports out.

mod crash;
mod files;
mod hostile;
mod project;
mod reports;
mod retention;
mod weblog;
