//! Discovers the cases of a set, runs one trial for each, and prints the last line.

mod adamw8bit;
mod base;
mod ce;
mod devices;
mod families;
mod forward;
mod gguf;
mod hash;
mod judge;
mod lora;
mod model;
mod models;
mod nf4;
mod number;
mod prequant;
mod rope;
mod set;
mod smollm2;
mod smollm2_train;
mod tokenizer;
mod train;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use judge::{Case, Outcome};
use libtest_mimic::{Arguments, Failed, Trial};
use set::Set;

/// A folder of the set and what finds its cases.
type Section = (&'static str, fn(&Set) -> Outcome<Vec<Case>>);

const SECTIONS: &[Section] = &[
    ("nf4", nf4::cases),
    ("model", model::cases),
    ("prequant", prequant::cases),
    ("lora", lora::cases),
    ("train", train::cases),
    ("ce", ce::cases),
    ("number", number::cases),
    ("rope", rope::cases),
    ("tokenizer", tokenizer::cases),
    ("smollm2", smollm2::cases),
    ("gguf", gguf::cases),
    ("families", families::cases),
];

/// The sets to walk: the one that was named, or the reduced set and what other families add to it.
fn paths() -> Vec<PathBuf> {
    match std::env::var_os("WGPU_LORA_GOLDEN").filter(|path| !path.is_empty()) {
        Some(path) => vec![PathBuf::from(path)],
        None => ["tests/golden", "tests/golden_families"]
            .map(|set| Path::new(env!("CARGO_MANIFEST_DIR")).join(set))
            .into(),
    }
}

/// The cases of all sections; what is unknown, missing or unreadable is a case that fails.
fn discover(set: &Set) -> Vec<Case> {
    let folders = match set.folders("") {
        Ok(folders) => folders,
        Err(e) => return vec![Case::broken("set", e)],
    };
    let mut cases = Vec::new();
    for folder in folders {
        match SECTIONS.iter().find(|(name, _)| *name == folder) {
            None => cases.push(Case::broken(&folder, "no section of this name is known")),
            Some((_, find)) => match find(set) {
                Ok(found) if found.is_empty() => {
                    cases.push(Case::broken(&folder, "the section holds no case"));
                }
                Ok(found) => cases.extend(found),
                Err(e) => cases.push(Case::broken(&folder, e)),
            },
        }
    }
    if cases.is_empty() {
        cases.push(Case::broken("set", "it holds no section"));
    }
    cases
}

pub fn run() -> ExitCode {
    let mut args = Arguments::from_args();
    // With one thread the harness writes a test's name before it runs, into the middle of our
    // lines.
    args.test_threads = Some(args.test_threads.unwrap_or(2).max(2));
    let paths = paths();
    let cases = paths.iter().flat_map(|path| discover(&Set::new(path)));
    let trials = cases.map(|case| {
        Trial::test(case.name.clone(), move || case.run().map_err(|e| Failed::from(e.to_string())))
    });
    let conclusion = libtest_mimic::run(&args, trials.collect());
    if !args.list {
        let cases = conclusion.num_passed + conclusion.num_failed;
        let sets: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        println!(
            "golden: {cases} cases, {} failed, set {}",
            conclusion.num_failed,
            sets.join(" and ")
        );
    }
    conclusion.exit_code()
}
