//! SentencePiece tokenizers in GGUF metadata (`tokenizer.ggml.model` = `llama`: Llama 2, TinyLlama,
//! Mistral) as a `tokenizer.json`: byte-pair encoding whose merges follow from the scores, with
//! bytes where a character has no token.
//!
//! **Source** Kudo & Richardson 2018 (arXiv:1808.06226); transformers' `LlamaConverter` for the
//! layout, `llama-vocab.cpp` for which tokens are merged.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::file::GgufFile;
use super::special::{CONTROL, Tokens, UNKNOWN, USER_DEFINED};
use super::tokenizer::added_tokens;
use super::value::GgufValue;
use crate::error::Result;

/// SentencePiece's sign for a space.
pub(super) const SPACE: &str = "▁";

/// Bytes of the longest token that merges are looked for in: SentencePiece's own are 16 characters
/// by default.
const LONGEST: usize = 512;

/// The token of a byte.
pub(super) fn byte_token(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}

impl GgufFile {
    /// The `tokenizer.json` of a tokenizer of kind `llama`.
    ///
    /// **Errors** [`crate::Error::Format`] if vocabulary, types and scores are missing or do not
    /// fit together.
    pub(super) fn spm_json(&self) -> Result<Vec<u8>> {
        let tokens = Tokens::read(self)?;
        let scores = self.scores(tokens.texts.len())?;
        let ids: HashMap<&str, usize> =
            tokens.texts.iter().enumerate().map(|(id, text)| (text.as_str(), id)).collect();
        let vocab: serde_json::Map<String, Value> =
            ids.iter().map(|(token, id)| ((*token).to_owned(), json!(id))).collect();
        let space = self.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
        let replaced = json!({"type": "Replace", "pattern": {"String": " "}, "content": SPACE});
        let mut normalizers = vec![replaced];
        let mut decoders = vec![
            json!({"type": "Replace", "pattern": {"String": SPACE}, "content": " "}),
            json!({"type": "ByteFallback"}),
            json!({"type": "Fuse"}),
        ];
        if space {
            normalizers.insert(0, json!({"type": "Prepend", "prepend": SPACE}));
            decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
        }
        let bytes = (0..=255).all(|byte| ids.contains_key(byte_token(byte).as_str()));
        let unknown = tokens.text(tokens.unknown.filter(|_| tokens.of(UNKNOWN).next().is_some()));
        let text = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added_tokens(&tokens),
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": null,
            "post_processor": self.post_processor(true, None, &tokens)?,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": unknown,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": true,
                "byte_fallback": bytes,
                "vocab": vocab,
                "merges": self.merges_of(&tokens, &ids, &scores)?,
            },
        });
        Ok(text.to_string().into_bytes())
    }

    fn scores(&self, tokens: usize) -> Result<Vec<f64>> {
        const KEY: &str = "tokenizer.ggml.scores";
        let scores: Vec<f64> = match self.metadata().get(KEY) {
            Some(GgufValue::Numbers(scores)) => scores.iter().collect(),
            Some(_) => return Err(self.error(KEY, "should be a list of numbers")),
            None => return Err(self.error(KEY, "is missing")),
        };
        if scores.len() < tokens {
            return Err(
                self.error(KEY, format!("has {} entries for {tokens} tokens", scores.len()))
            );
        }
        match scores.iter().any(|score| score.is_nan()) {
            true => Err(self.error(KEY, "holds NaN")),
            false => Ok(scores),
        }
    }

    /// Every way to make a token of two others, the best score first: the order in which
    /// SentencePiece merges. Tokens that are cut out of a text before are made of nothing; bytes
    /// and unused ones are merged like any other.
    fn merges_of(
        &self,
        tokens: &Tokens,
        ids: &HashMap<&str, usize>,
        scores: &[f64],
    ) -> Result<Vec<[String; 2]>> {
        let mut merges = Vec::new();
        for (token, id) in ids {
            if matches!(tokens.kinds[*id], UNKNOWN | CONTROL | USER_DEFINED) {
                continue;
            }
            if token.len() > LONGEST {
                let why = format!("number {id} has {} bytes, over {LONGEST}", token.len());
                return Err(self.error("tokenizer.ggml.tokens", why));
            }
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(a), Some(b)) = (ids.get(left), ids.get(right)) {
                    merges.push((scores[*id], *id, *a, *b));
                }
            }
        }
        merges.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.2, x.3).cmp(&(y.2, y.3))));
        if let Some(same) = merges.windows(2).find(|m| m[0].0 == m[1].0 && m[0].1 != m[1].1) {
            let (a, b) = (&tokens.texts[same[0].1], &tokens.texts[same[1].1]);
            let what = format!("tokens {a:?} and {b:?} of one score");
            return Err(self.unsupported(what, "put the model's tokenizer.json beside the file"));
        }
        let text = |id: usize| tokens.texts[id].clone();
        Ok(merges.into_iter().map(|(_, _, a, b)| [text(a), text(b)]).collect())
    }
}
