//! `cargo xtask test`: everything, on a machine that has nothing but Rust.
//!
//! 1. an adapter (hardware, or lavapipe, installed if need be)
//! 2. the models that the goldens need
//! 3. all tests of the crate, by nextest if it is installed; then those of the tools, then the
//!    examples in the docs
//! 4. the golden test on `tests/golden`, and on `../shared/golden/public` where that lies beside
//!    the clone
//! 5. the library as the browser compiles it, and the page in Chromium; every shader in both
//!    compilers
//! 6. with `--ci` the tests of `cargo xtask mpi`, and this commit's turn of `cargo xtask drivers`
//!
//! One failure does not hide the next: all parts run, and the summary comes last.

use crate::{Flags, adapter, browser, drivers, models, mpi, sh, shaders, wasm};
use anyhow::{Result, bail};
use serde_json::Value;
use std::process::Command;
use std::time::{Duration, Instant};

/// A CI machine kills a part that takes longer: something in it hangs.
const LIMIT: Duration = Duration::from_secs(40 * 60);

/// Kills of a rank and of mpirun; `cargo xtask mpi --test` has more.
const KILLS: &str = "2";

/// The golden set of the people who made the references, beside the clone.
const SHARED_GOLDENS: &str = "../shared/golden/public";

/// The verdicts so far.
struct Report {
    limit: Option<Duration>,
    rows: Vec<(bool, String, f32)>,
    lines: Vec<String>,
}

impl Report {
    /// Runs one part and remembers its verdict and its summary lines.
    fn part(&mut self, name: &str, command: &mut Command) -> Result<()> {
        println!("\n== {name}");
        let start = Instant::now();
        let seen = sh::watch(command, self.limit, is_summary)?;
        self.lines.extend(seen.lines);
        self.add(name, seen.ok, start);
        Ok(())
    }

    fn add(&mut self, name: &str, ok: bool, start: Instant) {
        self.rows.push((ok, name.to_string(), start.elapsed().as_secs_f32()));
    }
}

/// Lines of cargo test, nextest, the golden test and the shader check that say how it went.
fn is_summary(line: &str) -> bool {
    let line = line.trim_start();
    ["test result: ", "Summary [", "golden: ", "strangers: ", "shaders: ", "tint self test: ", "mpi: ", "browser: ", "web: ", "killed after"]
        .iter()
        .any(|start| line.starts_with(start))
        // Failures, so that the end of a long log names them.
        || (line.starts_with("test ") && line.ends_with("... FAILED"))
        || line.starts_with("FAIL [")
        || line.starts_with("TIMEOUT [")
}

/// `cargo xtask test [--quick] [--ci]`.
pub fn command(flags: &Flags) -> Result<()> {
    let (quick, ci) = (flags.has("--quick"), flags.has("--ci"));
    let mut report = Report { limit: ci.then_some(LIMIT), rows: Vec::new(), lines: Vec::new() };

    let adapter = adapter::ensure()?;
    println!("adapter: {}", adapter.about);
    let dir = models::default_dir()?;
    let start = Instant::now();
    if let Err(error) = models::ensure(&dir) {
        // The goldens that need them will fail; everything else still says something.
        println!("models: {error:#}");
        report.add("models", false, start);
    }
    let cargo = |args: &[&str]| {
        let mut command = sh::cargo(args);
        adapter.apply(&mut command).env(models::VARIABLE, &dir);
        command
    };
    if ci {
        report.part("format", &mut cargo(&["fmt", "--all", "--check"]))?;
        let clippy =
            ["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"];
        report.part("clippy", &mut cargo(&clippy))?;
        let mut doc = cargo(&["doc", "--release", "--no-deps"]);
        report.part("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
        // As a program builds it that wants neither the command line nor the hub.
        let alone = ["check", "--release", "--no-default-features", "--lib"];
        report.part("the library alone", &mut cargo(&alone))?;
        let hot = ["check", "--release", "--features", "hot-shaders"];
        report.part("shaders of a folder", &mut cargo(&hot))?;
    }

    // Not `--workspace`: the tools want features of naga that a build of the program alone does not
    // have, and everything that depends on it would be compiled twice.
    let metadata = sh::metadata()?;
    let has_golden = has_test_target(&metadata, "golden");
    if sh::works("cargo", &["nextest", "--version"]) {
        let profile = if ci { "ci" } else { "default" };
        let args = ["nextest", "run", "--release", "--no-fail-fast", "--profile", profile];
        // A process for each case would load the model and compile its kernels for each, and say
        // nothing when it passes; so nextest leaves these out.
        let alone: Vec<&str> = ["golden", "strangers"]
            .into_iter()
            .filter(|name| has_test_target(&metadata, name))
            .collect();
        let filter: Vec<String> = alone.iter().map(|name| format!("not binary({name})")).collect();
        let filter = filter.join(" and ");
        let filter: &[&str] = if alone.is_empty() { &[] } else { &["-E", &filter] };
        report.part("tests", &mut cargo(&[&args, filter].concat()))?;
        for name in alone {
            let part = if name == "golden" { "goldens" } else { "files of strangers" };
            report.part(part, &mut cargo(&["test", "--release", "--test", name]))?;
        }
    } else {
        // Examples are compiled; benches run once where their manifest entry says `test = true`.
        let args = ["test", "--release", "--tests", "--examples", "--no-fail-fast"];
        report.part("tests", &mut cargo(&args))?;
    }
    let tools = ["test", "--release", "--package", "xtask", "--package", "shader-check"];
    report.part("tests of the tools", &mut cargo(&tools))?;

    if ci {
        // With the program's package, so that both share one build of wgpu.
        let checker =
            ["test", "--release", "--package", "wgpu-lora", "--package", "driver-check", "--bin"];
        report.part("tests of driver-check", cargo(&checker).arg("driver-check"))?;
        let mut doctor = sh::program(&["doctor", "--quick", "--out", "target/doctor"]);
        report.part("doctor", adapter.apply(&mut doctor))?;
    }

    if !quick {
        let start = Instant::now();
        match wasm::Toolchain::ensure(wasm::TARGET).and_then(|toolchain| toolchain.check()) {
            Ok(mut check) => report.part("library for the browser", &mut check)?,
            Err(error) => {
                report.lines.push(format!("library for the browser: {error:#}"));
                report.add("library for the browser", false, start);
            }
        }
        let start = Instant::now();
        match browser::command() {
            // A clone without the built-in model has a page that asks for one: nothing to compare.
            Ok(None) => report.lines.push("browser: not run, there is no assets/model".into()),
            Ok(Some(mut test)) => {
                let test = adapter.apply(&mut test).env(models::VARIABLE, &dir);
                report.part("the page in Chromium", test)?;
            }
            Err(error) => {
                report.lines.push(format!("browser: {error:#}"));
                report.add("the page in Chromium", false, start);
            }
        }
        report.part("examples in the docs", &mut cargo(&["test", "--release", "--doc"]))?;
        let shared = sh::root().join(SHARED_GOLDENS);
        if has_golden && shared.is_dir() {
            let mut golden = cargo(&["test", "--release", "--test", "golden"]);
            report.part("goldens, full set", golden.env("WGPU_LORA_GOLDEN", &shared))?;
        }
        println!("\n== shaders");
        let start = Instant::now();
        match shaders::check(None, ci) {
            Ok(verdict) => {
                report.lines.extend(verdict.lines);
                report.add("shaders", verdict.ok, start);
            }
            Err(error) => {
                report.lines.push(format!("shaders: {error:#}"));
                report.add("shaders", false, start);
            }
        }
    }
    if ci && !quick && cfg!(target_os = "linux") {
        match mpi::ensure(true) {
            Ok(()) => {
                let lints = ["clippy", "--release", "--features", "mpi", "--bins", "--test", "mpi"];
                let lints = [&lints[..], &["--", "-D", "warnings"]].concat();
                report.part("clippy of several ranks", &mut cargo(&lints))?;
                report.part("several ranks", adapter.apply(&mut mpi::tests(KILLS)))?;
            }
            // A machine without a network: nothing about this commit.
            Err(error) => report.lines.push(format!("several ranks: not run: {error:#}")),
        }
    }
    if ci && !quick {
        let commit =
            sh::output(Command::new("git").args(["rev-parse", "HEAD"]).current_dir(sh::root()));
        for name in drivers::turn(&commit.unwrap_or_default()) {
            println!("\n== drivers: {name}");
            let start = Instant::now();
            let done = drivers::part(name);
            let name = format!("drivers: {name}");
            match done {
                Ok(verdict) => {
                    report.lines.extend(verdict.lines);
                    report.add(&name, verdict.ok, start);
                }
                // A machine without a network, or of another system: nothing about this commit.
                Err(error) if drivers::is_unavailable(&error) => {
                    report.lines.push(format!("{name}: not run: {error:#}"));
                }
                Err(error) => {
                    report.lines.push(format!("{name}: {error:#}"));
                    report.add(&name, false, start);
                }
            }
        }
    }
    finish(&report, &adapter.about)
}

fn finish(report: &Report, adapter: &str) -> Result<()> {
    println!("\n== summary (adapter: {adapter})");
    for line in &report.lines {
        println!("{}", line.trim_start());
    }
    for (ok, name, seconds) in &report.rows {
        println!("{} {name} ({seconds:.0} s)", if *ok { "ok    " } else { "FAILED" });
    }
    let failed = report.rows.iter().filter(|(ok, ..)| !ok).count();
    println!("xtask test: {} parts, {failed} failed", report.rows.len());
    if failed > 0 { bail!("{failed} of {} parts failed", report.rows.len()) } else { Ok(()) }
}

/// Whether the crate has an integration test of this name.
fn has_test_target(metadata: &Value, name: &str) -> bool {
    let packages = metadata["packages"].as_array().into_iter().flatten();
    packages
        .filter(|package| package["name"] == "wgpu-lora")
        .flat_map(|package| package["targets"].as_array().into_iter().flatten())
        .any(|target| target["name"] == name && target["kind"][0] == "test")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summary_lines_of_every_runner_are_kept() {
        for line in [
            "test result: ok. 3 passed; 0 failed; 0 ignored",
            "     Summary [   0.004s] 3 tests run: 3 passed, 0 skipped",
            "golden: 12 cases, 0 failed, set tests/golden",
            "strangers: tables: 40 cases, 39 agreed, 1 refused, 0 disagreed",
            "test gpu::rms_norm ... FAILED",
            "        FAIL [   0.010s] wgpu-lora::laws architecture",
        ] {
            assert!(is_summary(line), "{line}");
        }
        assert!(!is_summary("test gpu::rms_norm ... ok"));
        assert!(!is_summary("running 3 tests"));
    }

    #[test]
    fn test_targets_are_found_in_the_metadata() {
        let text = r#"{"packages":[{"name":"wgpu-lora","targets":[{"name":"golden","kind":["test"]},{"name":"step","kind":["bench"]}]}]}"#;
        let metadata = serde_json::from_str(text).unwrap();
        assert!(has_test_target(&metadata, "golden"));
        assert!(!has_test_target(&metadata, "step"));
    }
}
