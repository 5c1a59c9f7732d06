//! Tokens of GGUF metadata: their types, which of them begin and end texts.
//!
//! **Source** `llama-vocab.cpp`: what it takes where a key is missing, which tokens it knows by
//! their text, and which end a generation.

use std::collections::HashMap;

use super::file::GgufFile;
use super::value::GgufValue;
use crate::error::Result;

/// Token types of `tokenizer.ggml.token_type`.
pub(super) const NORMAL: i64 = 1;
pub(super) const UNKNOWN: i64 = 2;
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;
pub(super) const BYTE: i64 = 6;

/// Texts of tokens that end a generation, whatever the metadata say.
const ENDS: [&str; 22] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Tokens around code to be filled in: keys of their ids, the texts that stand for them where no
/// key does, and whether they end a generation.
const FILL: [(&[&str], &[&str], bool); 6] = [
    (
        &["fim_pre", "prefix"],
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<｜fim▁begin｜>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
        false,
    ),
    (
        &["fim_suf", "suffix"],
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<｜fim▁hole｜>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
        false,
    ),
    (
        &["fim_mid", "middle"],
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<｜fim▁end｜>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
        false,
    ),
    (&["fim_pad"], &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"], true),
    (&["fim_rep"], &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"], true),
    (&["fim_sep"], &["<|file_sep|>"], true),
];

/// Texts of tokens that are always written out.
const SHOWN: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];

/// The tokens of a file.
pub(super) struct Tokens {
    /// Their texts, by id.
    pub(super) texts: Vec<String>,
    /// Their types, by id.
    pub(super) kinds: Vec<i64>,
    /// The first token of texts.
    pub(super) bos: Option<u32>,
    /// The last token of texts.
    pub(super) eos: Option<u32>,
    /// The token that stands for what has none.
    pub(super) unknown: Option<u32>,
    /// The token of unused places.
    pub(super) padding: Option<u32>,
    /// Those that end a generation, `eos` first.
    pub(super) ends: Vec<u32>,
    /// Whether white space behind control tokens vanishes.
    pub(super) rstrip: bool,
}

impl Tokens {
    /// Reads them.
    ///
    /// **Errors** [`crate::Error::Format`] for lists that do not fit together and ids outside of
    /// the vocabulary.
    pub(super) fn read(file: &GgufFile) -> Result<Self> {
        const TOKENS: &str = "tokenizer.ggml.tokens";
        let mut texts = file.texts(TOKENS)?.to_vec();
        for (id, text) in texts.iter_mut().enumerate().filter(|(_, text)| text.is_empty()) {
            *text = format!("[EMPTY_{id}]");
        }
        let ids: HashMap<&str, u32> =
            texts.iter().enumerate().map(|(id, text)| (text.as_str(), id as u32)).collect();
        if ids.len() != texts.len() {
            return Err(file.error(TOKENS, "names a token twice"));
        }
        let mut kinds = kinds(file, texts.len())?;
        let special = |names: &[&str]| -> Result<Option<u32>> {
            for name in names {
                let key = format!("tokenizer.ggml.{name}_token_id");
                let Some(id) = file.token(&key)? else { continue };
                if id as usize >= texts.len() {
                    let why = format!("{id} is outside the vocabulary of {}", texts.len());
                    return Err(file.error(&key, why));
                }
                return Ok(Some(id));
            }
            Ok(None)
        };
        let default = |id: u32| (file.sentencepiece() && (id as usize) < texts.len()).then_some(id);
        let (bos, eos) = (special(&["bos"])?.or(default(1)), special(&["eos"])?.or(default(2)));
        let unknown = special(&["unknown"])?.or(default(0));
        let mut by_text = |names: &[&str]| {
            let found = names.iter().find_map(|name| ids.get(name)).copied();
            if let Some(id) = found {
                kinds[id as usize] = CONTROL;
            }
            found
        };
        let mut ends = Vec::new();
        for (keys, names, end) in FILL {
            let id = match special(keys)? {
                None => by_text(names),
                found => found,
            };
            ends.extend(id.filter(|_| end));
        }
        ends.extend(ENDS.iter().filter_map(|name| by_text(&[name])));
        for id in SHOWN.iter().filter_map(|name| ids.get(name)) {
            kinds[*id as usize] = USER_DEFINED;
        }
        ends.extend([eos, special(&["eot"])?, special(&["eom"])?].into_iter().flatten());
        // What ends a turn elsewhere is a part of it in these vocabularies.
        let has = |name: &str| ids.get(name).is_some_and(|id| ends.contains(id));
        let harmony =
            (has("<|call|>") || has("<|calls|>")) && (has("<|return|>") || has("<|flush|>"));
        let mut part = |name: &str, kind: i64| {
            if let Some(id) = ids.get(name) {
                ends.retain(|end| end != id);
                kinds[*id as usize] = kind;
            }
        };
        if harmony {
            part("<|end|>", USER_DEFINED);
        }
        if ids.contains_key("<|tool_response>") {
            part("</s>", NORMAL);
        }
        ends.sort_unstable_by_key(|id| (Some(*id) != eos, *id));
        ends.dedup();
        let name = file.text("general.name")?.unwrap_or_default().to_lowercase();
        let rstrip = name.contains("phi-3") || name.contains("phi3");
        let padding = special(&["padding"])?;
        Ok(Self { texts, kinds, bos, eos, unknown, padding, ends, rstrip })
    }

    /// Ids and texts of the tokens of a type.
    pub(super) fn of(&self, kind: i64) -> impl Iterator<Item = (u32, &str)> {
        let all = self.kinds.iter().zip(&self.texts).enumerate();
        all.filter(move |(_, (k, _))| **k == kind).map(|(id, (_, text))| (id as u32, text.as_str()))
    }

    /// The text of a token.
    pub(super) fn text(&self, id: Option<u32>) -> Option<&str> {
        self.texts.get(id? as usize).map(String::as_str)
    }
}

/// The type of each token; all are normal where the file does not say.
fn kinds(file: &GgufFile, tokens: usize) -> Result<Vec<i64>> {
    const KEY: &str = "tokenizer.ggml.token_type";
    let kinds = match file.metadata().get(KEY) {
        None => return Ok(vec![NORMAL; tokens]),
        Some(GgufValue::Numbers(kinds)) => kinds,
        Some(_) => return Err(file.error(KEY, "should be a list of numbers")),
    };
    let mut kinds: Vec<i64> = kinds.iter().map(|kind| kind as i64).collect();
    if kinds.len() < tokens {
        let why = format!("has {} entries for {tokens} tokens", kinds.len());
        return Err(file.error(KEY, why));
    }
    kinds.truncate(tokens);
    Ok(kinds)
}
