//! The program as a user meets it: run on a tiny model, judged by exit code, stdout, stderr and
//! files.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "long tests say what they tried and what was left out"
)]

mod answers;
mod chat;
mod continued;
mod data;
mod doctor;
mod errors;
mod faults;
mod foreign;
#[cfg(unix)]
mod full_disk;
mod generate;
#[cfg(unix)]
mod guide;
mod hub;
mod merge;
mod mistakes;
mod neighbours;
mod plot;
mod pricer;
mod pricer_golden;
mod program;
mod resume;
mod settings;
mod task;
mod train;
mod tuned;
mod words;

#[path = "../common/tiny.rs"]
mod tiny;
