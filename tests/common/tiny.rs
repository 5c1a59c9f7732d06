//! A tiny model on disk: the weights of a golden, and a byte-level tokenizer made here.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// GPT-2's alphabet: the character that stands for a byte in a byte-level vocabulary.
fn letter(byte: u8) -> char {
    let plain = |b: u8| matches!(b, 33..=126 | 161..=172 | 174..=255);
    if plain(byte) {
        return char::from(byte);
    }
    let before = (0..byte).filter(|&b| !plain(b)).count() as u32;
    char::from_u32(256 + before).expect("below the surrogates")
}

/// Ids: `<pad>` 0, `<s>` 1, `</s>` 2, then byte b at 3 + b. No merges, no BOS.
pub fn tokenizer_json() -> String {
    let special = ["<pad>", "<s>", "</s>"];
    let mut vocab: Map<String, Value> = Map::new();
    for (id, text) in special.iter().enumerate() {
        vocab.insert((*text).into(), id.into());
    }
    for byte in 0..=255u8 {
        vocab.insert(letter(byte).into(), (3 + usize::from(byte)).into());
    }
    let added: Vec<Value> = special
        .iter()
        .enumerate()
        .map(|(id, text)| {
            json!({"id": id, "content": text, "single_word": false, "lstrip": false,
                   "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    let bytes = |prefix: bool| {
        json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
               "use_regex": false})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": null, "pre_tokenizer": bytes(false), "post_processor": null,
        "decoder": bytes(true),
        "model": {"type": "BPE", "dropout": null, "unk_token": null,
                  "continuing_subword_prefix": null, "end_of_word_suffix": null,
                  "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": []},
    })
    .to_string()
}

/// The folder of a golden.
pub fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// A file or folder of reference data that is no part of the golden set.
#[allow(dead_code, reason = "not every test binary that has this module reads fixtures")]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Writes the model `name` (`tiny_a`, `tiny_b`) with its tokenizer into `folder`.
pub fn write_model(folder: &Path, name: &str) {
    fs::create_dir_all(folder).unwrap();
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden("model").join(name).join(file), folder.join(file)).unwrap();
    }
    fs::write(folder.join("tokenizer.json"), tokenizer_json()).unwrap();
}
