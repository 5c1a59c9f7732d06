//! SentencePiece's settings and scores from a `tokenizer.json`, which has merges instead.

use std::collections::HashMap;

use serde_json::Value;

use super::special::{BYTE, NORMAL};
use super::spm::SPACE;
use crate::error::{Error, Result};

/// What of a `tokenizer.json` llama.cpp has no word for.
pub(super) fn refuse(what: &str) -> Error {
    Error::Unsupported {
        what: format!("tokenizer.json: {what} in GGUF"),
        hint: "byte-level BPE as Llama 3, SmolLM2, Qwen2 and GPT-2 have it, and SentencePiece as Llama 2 has it, work"
            .into(),
    }
}

/// What a SentencePiece tokenizer does to spaces.
pub(super) struct Spm {
    /// Whether a text gets one in front.
    pub(super) prefix: bool,
}

impl Spm {
    /// The settings of a `tokenizer.json`: spaces are replaced by a normalizer, or by Metaspace.
    ///
    /// **Errors** [`crate::Error::Unsupported`] for steps that llama.cpp does not take.
    pub(super) fn of(json: &Value) -> Result<Self> {
        let steps = |value: &Value, list: &str| match (value.is_null(), value[list].as_array()) {
            (true, _) => Vec::new(),
            (false, Some(steps)) => steps.clone(),
            (false, None) => vec![value.clone()],
        };
        let (mut prefix, mut replaced) = (false, false);
        for step in steps(&json["normalizer"], "normalizers") {
            match step["type"].as_str() {
                Some("Prepend") if step["prepend"] == SPACE => prefix = true,
                Some("Replace") if step["pattern"]["String"] == " " && step["content"] == SPACE => {
                    replaced = true;
                }
                _ => return Err(refuse("its normalizer")),
            }
        }
        for step in steps(&json["pre_tokenizer"], "pretokenizers") {
            let metaspace = step["type"] == "Metaspace" && step["replacement"] == SPACE;
            if replaced || !metaspace || step["split"] != false {
                return Err(refuse("its pre-tokenizer"));
            }
            replaced = true;
            prefix = step["prepend_scheme"] != "never";
        }
        if !replaced {
            return Err(refuse("spaces that are not replaced"));
        }
        Ok(Self { prefix })
    }
}

/// Scores under which SentencePiece merges what these merges merge, in their order.
///
/// **Errors** [`crate::Error::Unsupported`] if there are none.
pub(super) fn scores(
    merges: &[(String, String)],
    tokens: &[String],
    kinds: &[i64],
) -> Result<Vec<f32>> {
    let none = || refuse("merges that follow from no scores");
    let ids: HashMap<&str, usize> =
        tokens.iter().enumerate().map(|(id, token)| (token.as_str(), id)).collect();
    let merged = |id: usize| matches!(kinds[id], NORMAL | BYTE);
    let mut scores = vec![0.0; tokens.len()];
    // How many merges make a token.
    let mut ways = HashMap::<usize, usize>::new();
    let mut last = None;
    for (a, b) in merges {
        let id = *ids.get(format!("{a}{b}").as_str()).ok_or_else(none)?;
        if !merged(id) {
            continue;
        }
        if last != Some(id) {
            if ways.contains_key(&id) {
                return Err(none());
            }
            scores[id] = -(ways.len() as f32) - 1.0;
            last = Some(id);
        }
        *ways.entry(id).or_default() += 1;
    }
    // SentencePiece merges any two tokens that make a third one.
    for (token, id) in ids.iter().filter(|(_, id)| merged(**id)) {
        let pairs = token.char_indices().skip(1).map(|(at, _)| token.split_at(at));
        let pairs = pairs.filter(|(a, b)| ids.contains_key(a) && ids.contains_key(b)).count();
        if pairs != ways.get(id).copied().unwrap_or(0) {
            return Err(none());
        }
    }
    Ok(scores)
}
