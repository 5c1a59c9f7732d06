//! Files of strangers: random but valid inputs whose result a reference computed (transformers,
//! PEFT, TRL, llama.cpp, pandas). Every case is agreed, refused by name, or disagreed; a
//! disagreement fails.
//!
//! Cases are `<kind>.jsonl` or `<kind>.jsonl.gz` in `tests/strangers/cases`, or in the folder that
//! `WGPU_LORA_STRANGERS` names; `tests/strangers/make.py` makes them. See
//! `tests/strangers/README.md`.
#![allow(clippy::print_stdout, reason = "the counts are the result")]

mod adapters;
mod answers;
mod case;
mod chats;
mod configurations;
mod gguf;
mod model;
mod tables;
mod templates;
mod tokenizers;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use case::{Case, Verdict};
use libtest_mimic::{Arguments, Failed, Trial};

/// A kind of input and what judges one case of it.
type Kind = (&'static str, fn(&Case) -> Verdict);

const KINDS: [Kind; 8] = [
    ("adapters", adapters::judge),
    ("answers", answers::judge),
    ("chats", chats::judge),
    ("configurations", configurations::judge),
    ("gguf", gguf::judge),
    ("tables", tables::judge),
    ("templates", templates::judge),
    ("tokenizers", tokenizers::judge),
];

/// At most this share of inputs that the reference reads may be refused.
const MOST_REFUSED: f64 = 0.05;

/// A folder that a person names.
fn named() -> Option<PathBuf> {
    std::env::var_os("WGPU_LORA_STRANGERS").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Judges all cases of a kind; prints the counts, each refusal's text with its count, and each
/// disagreement.
fn walk(name: &str, judge: fn(&Case) -> Verdict, cases: &[Case]) -> Result<(), Failed> {
    let (mut agreed, mut disagreed) = (0, Vec::new());
    let mut refused = BTreeMap::<String, usize>::new();
    for case in cases {
        match judge(case) {
            Verdict::Agreed => agreed += 1,
            Verdict::Refused(why) => *refused.entry(why).or_default() += 1,
            Verdict::Disagreed(how) => disagreed.push(format!("{}: {how}", case.id)),
        }
    }
    let refusals: usize = refused.values().sum();
    let (all, wrong) = (cases.len(), disagreed.len());
    // On a line of its own: the runner has begun one.
    println!(
        "\nstrangers: {name}: {all} cases, {agreed} agreed, {refusals} refused, {wrong} disagreed"
    );
    for (why, count) in &refused {
        println!("  {count} refused: {why}");
    }
    for how in &disagreed {
        println!("  disagreed: {how}");
    }
    if wrong > 0 {
        return Err(format!("{wrong} of {all} cases disagree with the reference").into());
    }
    if refusals as f64 > MOST_REFUSED * all as f64 {
        return Err(format!("{refusals} of {all} cases are refused").into());
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let mut arguments = Arguments::from_args();
    // Each kind uses the adapter alone, and its lines stay together.
    arguments.test_threads = Some(1);
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/strangers/cases");
    let folder = named().unwrap_or(kept);
    let found = KINDS.into_iter().filter_map(|(name, judge)| {
        let path = case::file_of(&folder, name)?;
        Some(Trial::test(name, move || walk(name, judge, &Case::read_all(&path)?)))
    });
    let mut trials: Vec<Trial> = found.collect();
    if trials.is_empty() {
        let why = format!("no cases in {}", folder.display());
        trials.push(Trial::test("cases", move || Err(why.into())));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}
