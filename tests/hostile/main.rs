//! Files of unknown origin: a fixed number of spoilt ones for every parser, and the evil ones by name with their messages.
//!
//! The spoilt ones come from a mutator that a seed drives, so that every run tries the same; `cargo fuzz` (fuzz/) drives
//! the same functions for as long as one likes.

mod alloc;
#[path = "../../fuzz/entry.rs"]
mod entry;
mod evil;
mod mutate;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use mutate::Mutator;

/// What is allowed beside four times the file: messages, and buffers that do not depend on it.
const FLOOR: usize = 64 << 10;

/// The same where a tokenizer is built: the tokenizers crate makes room for a cache of 10,000 words, whatever the file.
const TOKENIZER_FLOOR: usize = 3 << 19;

/// Longer than any of these inputs takes on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(20);

fn corpus(format: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(format);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

#[allow(clippy::print_stdout, reason = "figures for docs/reliability.md")]
/// Runs `count` inputs; the largest allocation of one may be four times its length, and `floor`.
fn drive(format: &str, run: fn(&[u8]), count: usize, floor: usize) {
    let seeds = corpus(format);
    let mut mutator = Mutator::new(format);
    let (mut largest, mut slowest) = (0.0f64, Duration::ZERO);
    for seed in &seeds {
        run(seed);
    }
    for i in 0..count {
        let input = mutator.next(&seeds);
        let started = Instant::now();
        let (outcome, bytes) = alloc::largest(|| catch_unwind(AssertUnwindSafe(|| run(&input))));
        let took = started.elapsed();
        let fine = outcome.is_ok() && bytes <= 4 * input.len() + floor && took < LONGEST;
        if !fine {
            let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{format}-{i}"));
            fs::write(&path, &input).unwrap();
            panic!(
                "{format}, input {i} of {} bytes, kept as {}: panicked {}, largest allocation {bytes}, {took:?}",
                input.len(),
                path.display(),
                outcome.is_err()
            );
        }
        slowest = slowest.max(took);
        largest = largest.max(bytes.saturating_sub(floor) as f64 / input.len().max(1) as f64);
    }
    println!(
        "hostile: {format}: {count} inputs, largest allocation {largest:.1} times the file, slowest {slowest:?}"
    );
}

#[test]
fn safetensors() {
    drive("safetensors", entry::safetensors, 50_000, FLOOR);
}

#[test]
fn gguf() {
    drive("gguf", entry::gguf, 30_000, TOKENIZER_FLOOR);
}

#[test]
fn adapter_config() {
    drive("adapter_config", entry::adapter_config, 40_000, FLOOR);
}

#[test]
fn tokenizer() {
    drive("tokenizer", entry::tokenizer, 20_000, TOKENIZER_FLOOR);
}

#[test]
fn config() {
    drive("config", entry::config, 40_000, FLOOR);
}

#[test]
fn jsonl() {
    drive("jsonl", entry::jsonl, 30_000, FLOOR);
}

#[test]
fn csv() {
    drive("csv", entry::csv, 30_000, FLOOR);
}

/// The check sees what it is there for.
#[test]
fn a_panic_and_a_large_allocation_are_seen() {
    let (outcome, _) = alloc::largest(|| catch_unwind(|| panic!("meant")));
    assert!(outcome.is_err());
    let (_, bytes) = alloc::largest(|| vec![0u8; 1 << 20]);
    assert!(bytes >= 1 << 20);
    let (_, bytes) = alloc::largest(|| vec![0u8; 10]);
    assert!(bytes < 1 << 20, "each measurement starts anew");
}
