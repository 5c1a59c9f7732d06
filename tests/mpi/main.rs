//! The program as several ranks of Open MPI's `mpirun`: `cargo xtask mpi --test`. Ranks share the
//! adapters that there are.

#![allow(clippy::print_stdout, reason = "bounds and times are for docs/cluster.md")]

mod evaluation;
mod hosts;
mod kills;
mod launch;
mod runs;
#[path = "../common/tiny.rs"]
mod tiny;
