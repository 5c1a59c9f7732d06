//! The program as a user meets it: run on a tiny model, judged by exit code, stdout, stderr and files.

mod data;
mod errors;
mod faults;
mod generate;
mod guide;
mod hub;
mod merge;
mod plot;
mod pricer;
mod pricer_golden;
mod program;
mod resume;
mod train;
mod words;

#[path = "../common/tiny.rs"]
mod tiny;
