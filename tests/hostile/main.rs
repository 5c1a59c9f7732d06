//! Files of unknown origin: a fixed number of spoilt ones for every parser, and the evil ones by
//! name with their messages.
//!
//! The spoilt ones come from a mutator that a seed drives, so that every run tries the same;
//! `cargo fuzz` (fuzz/) drives the same functions for as long as one likes.

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

/// The same where a tokenizer is built and used: its crate makes room for a cache of 10,000 words,
/// and the regular expressions of pre-tokenizers for tables of up to 4 MiB, whatever the file.
const TOKENIZER_FLOOR: usize = 8 << 20;

/// The same for Parquet, whose compressed pages may be larger than the file.
const PARQUET_FLOOR: usize = 4 << 20;

/// Longer than any of these inputs takes on a machine that is busy with other things.
const LONGEST: Duration = Duration::from_secs(20);

fn corpus(format: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(format);
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// Inputs that share a thread: the tokenizers crate keeps a table a thread that grows with every
/// tokenizer.
const A_THREAD: usize = 1000;

/// What became of some inputs.
#[derive(Default)]
struct Outcome {
    read: usize,
    /// The largest allocation beyond the floor, in lengths of its file.
    largest: f64,
    slowest: Duration,
}

/// Runs one input; its largest allocation may be four times its length, and `floor`.
fn one(format: &str, run: fn(&[u8]) -> bool, i: usize, input: &[u8], floor: usize) -> Outcome {
    let started = Instant::now();
    let (outcome, bytes) = alloc::largest(|| catch_unwind(AssertUnwindSafe(|| run(input))));
    let slowest = started.elapsed();
    if outcome.is_err() || bytes > 4 * input.len() + floor || slowest > LONGEST {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hostile-{format}-{i}"));
        fs::write(&path, input).unwrap();
        panic!(
            "{format}, input {i} of {} bytes, kept as {}: panicked {}, largest allocation {bytes}, {slowest:?}",
            input.len(),
            path.display(),
            outcome.is_err()
        );
    }
    let largest = bytes.saturating_sub(floor) as f64 / input.len().max(1) as f64;
    Outcome { read: usize::from(outcome.is_ok_and(|read| read)), largest, slowest }
}

/// As the program does: of a panic that the Parquet reader catches nothing is printed. The
/// backtrace that `RUST_BACKTRACE` asks for would take megabytes, too.
fn hush_caught_panics() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let print = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !wgpu_lora::data::decoding_parquet() {
                print(info);
            }
        }));
    });
}

/// Runs `count` inputs.
#[allow(clippy::print_stdout, reason = "figures for docs/reliability.md")]
fn drive(format: &str, run: fn(&[u8]) -> bool, count: usize, floor: usize) {
    hush_caught_panics();
    let seeds = corpus(format);
    for (i, seed) in seeds.iter().enumerate() {
        assert!(run(seed), "{format}: seed {i} cannot be read");
    }
    let mut mutator = Mutator::new(format);
    let mut all = Outcome::default();
    for first in (0..count).step_by(A_THREAD) {
        let inputs =
            Vec::from_iter((first..count.min(first + A_THREAD)).map(|i| (i, mutator.next(&seeds))));
        let chunk =
            || Vec::from_iter(inputs.iter().map(|(i, input)| one(format, run, *i, input, floor)));
        let outcomes = std::thread::scope(|scope| scope.spawn(chunk).join());
        for outcome in outcomes.expect("an input is kept above") {
            all.read += outcome.read;
            all.largest = all.largest.max(outcome.largest);
            all.slowest = all.slowest.max(outcome.slowest);
        }
    }
    println!(
        "hostile: {format}: {count} inputs, {} of them could be read; beyond {floor} bytes, the largest allocation was \
         {:.1} times the file; slowest {:?}",
        all.read, all.largest, all.slowest
    );
}

#[test]
fn safetensors() {
    drive("safetensors", entry::safetensors, 200_000, FLOOR);
}

#[test]
fn gguf() {
    drive("gguf", entry::gguf, 100_000, FLOOR);
}

#[test]
fn gguf_tokenizer() {
    drive("gguf", entry::gguf_tokenizer, 50_000, TOKENIZER_FLOOR);
}

#[test]
fn adapter_config() {
    drive("adapter_config", entry::adapter_config, 200_000, FLOOR);
}

#[test]
fn tokenizer() {
    drive("tokenizer", entry::tokenizer, 100_000, TOKENIZER_FLOOR);
}

#[test]
fn config() {
    drive("config", entry::config, 200_000, FLOOR);
}

#[test]
fn jsonl() {
    drive("jsonl", entry::jsonl, 200_000, FLOOR);
}

#[test]
fn csv() {
    drive("csv", entry::csv, 200_000, FLOOR);
}

#[test]
fn parquet() {
    drive("parquet", entry::parquet, 100_000, PARQUET_FLOOR);
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
