//! Host code that reads and writes files, and NF4: against goldens of the real libraries, and
//! against hostile files.

mod adapter;
mod assets;
mod chat;
mod checkpoint;
mod config;
mod gguf;
mod gguf_llama_cpp;
mod nf4;
mod prequant;
mod safetensors;
mod stream;
mod template;
mod tokenizer;

#[path = "../common/tiny.rs"]
mod tiny;

use std::fmt::Debug;
use std::path::{Path, PathBuf};

use wgpu_lora::format::{SafetensorsFile, WeightFile};
use wgpu_lora::{Error, Result};

/// The golden set in the repository.
fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// Reference data that is no part of the golden set.
fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// A larger set, named by `WGPU_LORA_GOLDEN`.
fn large_golden() -> Option<PathBuf> {
    std::env::var_os("WGPU_LORA_GOLDEN").map(PathBuf::from)
}

/// A file of a golden set.
fn open(path: PathBuf) -> SafetensorsFile {
    SafetensorsFile::open_path(path).unwrap()
}

fn f32s(file: &SafetensorsFile, name: &str) -> Vec<f32> {
    file.read_f32(name, 0..file.info(name).unwrap().elements()).unwrap()
}

fn u8s(file: &SafetensorsFile, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    file.read_bytes(name, 0..file.info(name).unwrap().bytes, &mut out).unwrap();
    out
}

/// The bytes of a checkpoint's tensor.
fn stored(file: &WeightFile, name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    file.read_bytes(name, 0..file.info(name).unwrap().bytes, &mut out).unwrap();
    out
}

fn f64s(file: &SafetensorsFile, name: &str) -> Vec<f64> {
    u8s(file, name).as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect()
}

/// Equal bit by bit: −0 is not 0 here.
fn assert_bits(got: &[f32], want: &[f32], what: &str) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert_eq!(g.to_bits(), w.to_bits(), "{what}[{i}]: {g:e} is not {w:e}");
    }
}

/// The call must fail with this kind of error, and its message must say all of these words.
#[track_caller]
fn assert_error<T: Debug>(result: Result<T>, kind: fn(&Error) -> bool, words: &[&str]) {
    let error = result.expect_err("should be refused");
    let message = error.to_string();
    assert!(kind(&error), "another kind of error: {error:?}");
    for word in words {
        assert!(message.contains(word), "`{word}` is not in: {message}");
    }
}

fn is_format(e: &Error) -> bool {
    matches!(e, Error::Format { .. })
}

fn is_unsupported(e: &Error) -> bool {
    matches!(e, Error::Unsupported { .. })
}

fn is_shape(e: &Error) -> bool {
    matches!(e, Error::Shape { .. })
}

fn is_missing(e: &Error) -> bool {
    matches!(e, Error::MissingTensor { .. })
}

fn is_invalid(e: &Error) -> bool {
    matches!(e, Error::Invalid { .. })
}

fn is_io(e: &Error) -> bool {
    matches!(e, Error::Io { .. })
}
