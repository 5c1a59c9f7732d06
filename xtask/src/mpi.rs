//! `cargo xtask mpi`: the program with the feature `mpi`, and its tests.
//!
//! The build reads the system's `mpi.h` with libclang, so it needs Open MPI's (or MPICH's) headers
//! and that; on Debian and Ubuntu they are installed. The tests are of Open MPI's `mpirun`.

use crate::{Flags, adapter, sh};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;

/// What a build needs on Debian and Ubuntu, and what two hosts on one machine need.
const BUILD: [&str; 3] = ["openmpi-bin", "libopenmpi-dev", "libclang-dev"];
const HOSTS: [&str; 1] = ["iproute2"];

/// How often a rank and mpirun are killed where nothing is said.
const KILLS: &str = "10";

/// So often a step is timed with mpirun and without, one after the other, each first in every
/// second pair: what runs second is some per cent off. An even number.
const PAIRS: usize = 12;

/// `cargo xtask mpi [--test] [--kills N]`.
pub fn command(flags: &Flags) -> Result<()> {
    let test = flags.has("--test");
    ensure(test)?;
    sh::run(&mut build())?;
    let program = program()?;
    println!("mpi: {}; how to start it: docs/cluster.md", program.display());
    if !test {
        return Ok(());
    }
    let adapter = adapter::ensure()?;
    let mut command = tests(flags.value("--kills").unwrap_or(KILLS));
    sh::run(adapter.apply(&mut command))?;
    overhead(&adapter)?.iter().for_each(|line| println!("{line}"));
    Ok(())
}

/// Installs what is missing. **Errors** with what to install where this program cannot.
pub fn ensure(test: bool) -> Result<()> {
    let has_mpi = sh::works("mpicc", &["--version"]) && sh::works("mpirun", &["--version"]);
    let has_hosts = !test || sh::works("ip", &["-V"]);
    if has_mpi && has_libclang() && has_hosts {
        return Ok(());
    }
    let packages = [&BUILD[..], if test { &HOSTS } else { &[] }].concat();
    if !sh::works("apt-get", &["--version"]) {
        bail!(
            "install an MPI with its headers and `mpicc` (Open MPI or MPICH) and libclang; on Debian \
             those are {}",
            packages.join(" ")
        );
    }
    println!("mpi: installing {} (about 300 MB with libclang)", packages.join(" "));
    sh::apt_install(&packages)
}

/// Whether bindgen would find it: where `LIBCLANG_PATH` says, or llvm-config, or the system.
fn has_libclang() -> bool {
    let is_libclang = |name: &str| name.starts_with("libclang") && name.contains(".so");
    let has = |folder: PathBuf| {
        let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
        files.into_iter().any(|file| is_libclang(&file.file_name().to_string_lossy()))
    };
    let given = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from);
    let llvm = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let llvm = llvm.filter(|entry| entry.file_name().to_string_lossy().starts_with("llvm-"));
    let system = ["/usr/lib64", "/usr/lib", "/usr/local/lib"].map(PathBuf::from);
    given.into_iter().chain(llvm.map(|entry| entry.path().join("lib"))).chain(system).any(has)
}

fn build() -> Command {
    sh::cargo(&["build", "--release", "--features", "mpi", "--bin", "wgpu-lora"])
}

fn program() -> Result<PathBuf> {
    Ok(sh::target_dir()?.join("release/wgpu-lora"))
}

/// The tests, one at a time: each takes all processors.
pub fn tests(kills: &str) -> Command {
    let mut command = sh::cargo(&["test", "--release", "--features", "mpi", "--test", "mpi", "--"]);
    command.args(["--test-threads", "1", "--nocapture"]).env("WGPU_LORA_KILLS", kills);
    command
}

/// What ranks cost, a line each. Times of a machine that does other things too: a report, not a
/// verdict.
fn overhead(adapter: &adapter::Adapter) -> Result<Vec<String>> {
    let program = program()?;
    let ranks = |n: usize, words: &str| -> Result<Value> {
        let mut command = Command::new("mpirun");
        command.args(["--oversubscribe", "--bind-to", "none", "-n", &n.to_string()]).arg(&program);
        command.args(words.split_whitespace()).current_dir(sh::root());
        command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
        last_line(adapter.apply(&mut command))
    };
    let line = ranks(2, "bench exchange --json")?;
    let ms = |name: &str| 1e3 * line[name].as_f64().unwrap_or(f64::NAN);
    let rate = line["sent_bytes"].as_f64().unwrap_or(f64::NAN) / ms("exchange_seconds") / 1e6;
    let mut lines = vec![format!(
        "mpi: 2 ranks sum 45 MB in {:.1} ms ({rate:.2} GB/s), {:.2} times MPI_Allreduce; read-back \
         {:.1} ms, upload {:.1} ms",
        ms("exchange_seconds"),
        ms("exchange_seconds") / ms("allreduce_seconds"),
        ms("read_back_seconds"),
        ms("upload_seconds"),
    )];
    let step = "bench step --json --model tests/golden/model/tiny_a --batch 1 --seq 48 --steps 60";
    let alone = || {
        let mut alone = Command::new(&program);
        alone.args(step.split_whitespace()).current_dir(sh::root());
        last_line(adapter.apply(&mut alone))
    };
    let ms = |row: Value| row["ms"].as_f64().unwrap_or(f64::NAN);
    let mut logs = 0.0;
    for pair in 0..PAIRS {
        let (one, alone) = match pair % 2 {
            0 => (ranks(1, step)?, alone()?),
            _ => {
                let alone = alone()?;
                (ranks(1, step)?, alone)
            }
        };
        logs += (ms(one) / ms(alone)).ln();
    }
    lines.push(format!(
        "mpi: with `mpirun -n 1`, which joins no world, a step takes {:.3} times as long (geometric mean of {PAIRS} \
         pairs)",
        (logs / PAIRS as f64).exp()
    ));
    Ok(lines)
}

/// What a program says last, as JSON.
fn last_line(command: &mut Command) -> Result<Value> {
    let said = sh::output(command)?;
    serde_json::from_str(said.lines().last().unwrap_or_default()).context("bench --json")
}
