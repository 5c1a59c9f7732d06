//! SentencePiece tokenizers in GGUF metadata (`tokenizer.ggml.model` = `llama`: Llama 2, TinyLlama, Mistral) as a
//! `tokenizer.json`: byte-pair encoding whose merges follow from the scores, with bytes where a character has no token.
//!
//! **Source** Kudo & Richardson 2018 (arXiv:1808.06226); transformers' `LlamaConverter` for the layout.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::gguf::{GgufFile, GgufValue};
use super::gguf_tokenizer::{BYTE, NORMAL, UNKNOWN};
use crate::error::Result;

/// SentencePiece's sign for a space.
const SPACE: &str = "▁";

/// Bytes of the longest token that merges are looked for in: SentencePiece's own are 16 characters by default.
const LONGEST: usize = 512;

impl GgufFile {
    /// The `tokenizer.json` of a tokenizer of kind `llama`.
    ///
    /// **Errors** [`crate::Error::Format`] if vocabulary, types and scores are missing or do not fit together.
    pub(super) fn spm_json(&self) -> Result<Vec<u8>> {
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let scores = self.scores(tokens.len())?;
        let kinds = self.token_types(tokens.len())?.ok_or_else(|| {
            self.error(
                "tokenizer.ggml.token_type",
                "is missing; put the model's tokenizer.json beside the file",
            )
        })?;
        let vocab: serde_json::Map<String, Value> =
            tokens.iter().enumerate().map(|(id, token)| (token.clone(), json!(id))).collect();
        if vocab.len() != tokens.len() {
            return Err(self.error("tokenizer.ggml.tokens", "names a token twice"));
        }
        let of_kind =
            |wanted: i64| kinds.iter().enumerate().filter(move |(_, kind)| **kind == wanted);
        let normal: HashMap<&str, usize> =
            of_kind(NORMAL).map(|(id, _)| (tokens[id].as_str(), id)).collect();
        let unknown = of_kind(UNKNOWN).next().map(|(id, _)| &tokens[id]);
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
        let text = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": self.added_tokens(tokens)?,
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": null,
            "post_processor": self.post_processor(true, None, tokens)?,
            "decoder": {"type": "Sequence", "decoders": decoders},
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": unknown,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": true,
                "byte_fallback": of_kind(BYTE).count() == 256,
                "vocab": vocab,
                "merges": self.merges_of(&normal, &scores)?,
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
        if scores.len() != tokens {
            return Err(
                self.error(KEY, format!("has {} entries for {tokens} tokens", scores.len()))
            );
        }
        match scores.iter().any(|score| score.is_nan()) {
            true => Err(self.error(KEY, "holds NaN")),
            false => Ok(scores),
        }
    }

    /// Every way to make a token of two others, the best score first: the order in which SentencePiece merges.
    fn merges_of(&self, normal: &HashMap<&str, usize>, scores: &[f64]) -> Result<Vec<[String; 2]>> {
        let mut merges = Vec::new();
        for (token, id) in normal {
            if token.len() > LONGEST {
                let why = format!("number {id} has {} bytes, over {LONGEST}", token.len());
                return Err(self.error("tokenizer.ggml.tokens", why));
            }
            for (at, _) in token.char_indices().skip(1) {
                let (left, right) = token.split_at(at);
                if let (Some(a), Some(b)) = (normal.get(left), normal.get(right)) {
                    merges.push((scores[*id], *a, *b, left, right));
                }
            }
        }
        merges.sort_by(|x, y| y.0.total_cmp(&x.0).then((x.1, x.2).cmp(&(y.1, y.2))));
        Ok(merges.into_iter().map(|(_, _, _, a, b)| [a.to_owned(), b.to_owned()]).collect())
    }
}
