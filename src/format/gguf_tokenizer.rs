//! A tokenizer from GGUF metadata, as the `tokenizer.json` that the model was published with.

use serde_json::{Value, json};

use super::gguf::{GgufFile, GgufValue};
use super::tokenizer::Tokenizer;
use crate::error::Result;

/// Token types of `tokenizer.ggml.token_type`.
pub(super) const NORMAL: i64 = 1;
pub(super) const UNKNOWN: i64 = 2;
pub(super) const CONTROL: i64 = 3;
pub(super) const USER_DEFINED: i64 = 4;
pub(super) const UNUSED: i64 = 5;
pub(super) const BYTE: i64 = 6;

/// How a text is cut before byte pairs are merged: what `tokenizer.ggml.pre` says.
pub(super) struct PreTokenizer {
    pub(super) names: &'static [&'static str],
    /// The pattern whose matches are words; without one, GPT-2's.
    pub(super) pattern: Option<&'static str>,
    /// Each digit is a word.
    pub(super) digits: bool,
    /// Texts are put into Unicode's NFC first.
    nfc: bool,
    /// Words that are in the vocabulary are taken whole.
    ignore_merges: bool,
    /// Whether texts start with the first token where the metadata does not say.
    add_bos: bool,
}

/// Sources: the `tokenizer.json` of the models that the names stand for.
pub(super) const KINDS: [PreTokenizer; 4] = [
    PreTokenizer {
        names: &["llama-bpe", "llama3", "llama-v3"],
        pattern: Some(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        digits: false,
        nfc: false,
        ignore_merges: true,
        add_bos: true,
    },
    PreTokenizer {
        names: &["smollm"],
        pattern: None,
        digits: true,
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["qwen2"],
        pattern: Some(concat!(
            r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
        )),
        digits: false,
        nfc: true,
        ignore_merges: false,
        add_bos: false,
    },
    PreTokenizer {
        names: &["gpt-2", "gpt2"],
        pattern: None,
        digits: false,
        nfc: false,
        ignore_merges: false,
        add_bos: false,
    },
];

impl PreTokenizer {
    fn json(&self) -> Value {
        let mut steps = Vec::new();
        if self.digits {
            steps.push(json!({"type": "Digits", "individual_digits": true}));
        }
        if let Some(pattern) = self.pattern {
            let pattern = json!({"Regex": pattern});
            let split = json!({"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": false});
            steps.push(split);
        }
        steps.push(byte_level(self.pattern.is_none()));
        json!({"type": "Sequence", "pretokenizers": steps})
    }
}

fn byte_level(use_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": use_regex})
}

impl GgufFile {
    /// The chat template in the metadata.
    pub fn chat_template(&self) -> Option<&str> {
        self.text("tokenizer.chat_template").ok().flatten()
    }

    /// The tokenizer in the metadata.
    ///
    /// **Errors** as [`GgufFile::tokenizer_json`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let mut tokenizer = Tokenizer::from_bytes(self.name(), &self.tokenizer_json()?)?;
        let token = |key: &str| -> Result<Value> {
            let id = self.token(&format!("tokenizer.ggml.{key}_token_id"))?;
            Ok(id.and_then(|id| tokenizer.id_to_token(id)).map_or(Value::Null, Value::String))
        };
        let (bos, eos, pad) = (token("bos")?, token("eos")?, token("padding")?);
        let config = json!({"bos_token": bos, "eos_token": eos, "pad_token": pad}).to_string();
        tokenizer.apply_config(self.name(), config.as_bytes())?;
        if let Some(template) = self.chat_template() {
            tokenizer.set_chat_template(self.name(), template.to_owned());
        }
        Ok(tokenizer)
    }

    /// The tokenizer in the metadata as a `tokenizer.json`.
    ///
    /// **Errors** [`Error::Unsupported`](crate::Error::Unsupported) for another kind than byte-level BPE and SentencePiece, or an unknown
    /// pre-tokenizer; [`Error::Format`](crate::Error::Format) if vocabulary, types, scores and merges are missing or do not fit together.
    pub fn tokenizer_json(&self) -> Result<Vec<u8>> {
        const HINT: &str = "put the model's tokenizer.json beside the file";
        match self.text("tokenizer.ggml.model")? {
            Some("gpt2") => {}
            Some("llama") => return self.spm_json(),
            Some(other) => {
                let what = format!("a tokenizer of kind `{other}` in the metadata");
                let hint = format!("gpt2 (byte-level BPE) and llama (SentencePiece) work; {HINT}");
                return Err(self.unsupported(what, hint));
            }
            None => return Err(self.error("tokenizer.ggml.model", format!("is missing; {HINT}"))),
        }
        let pre = self.text("tokenizer.ggml.pre")?.unwrap_or("default");
        let kind = KINDS.iter().find(|kind| kind.names.contains(&pre)).ok_or_else(|| {
            let known: Vec<_> = KINDS.iter().map(|kind| kind.names[0]).collect();
            let hint = format!("{} work; {HINT}", known.join(", "));
            self.unsupported(format!("pre-tokenizer `{pre}`"), hint)
        })?;
        let tokens = self.texts("tokenizer.ggml.tokens")?;
        let merges = self.texts("tokenizer.ggml.merges")?;
        let added = self.added_tokens(tokens)?;
        let kinds = self.token_types(tokens.len())?;
        // Rows of the embedding without a token have a name that says so.
        let used = |id: &usize| kinds.as_ref().is_none_or(|kinds| kinds[*id] != UNUSED);
        let named = tokens.iter().enumerate().filter(|(id, _)| used(id));
        let vocab: serde_json::Map<String, Value> =
            named.map(|(id, token)| (token.clone(), json!(id))).collect();
        if vocab.len() != (0..tokens.len()).filter(used).count() {
            return Err(self.error("tokenizer.ggml.tokens", "names a token twice"));
        }
        for (i, merge) in merges.iter().enumerate() {
            let pair = merge.split_once(' ');
            if pair.is_none_or(|(a, b)| !vocab.contains_key(a) || !vocab.contains_key(b)) {
                let why = format!("number {i}, {merge:?}, is no pair of tokens");
                return Err(self.error("tokenizer.ggml.merges", why));
            }
        }
        let text = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": if kind.nfc { json!({"type": "NFC"}) } else { Value::Null },
            "pre_tokenizer": kind.json(),
            "post_processor": self.post_processor(kind.add_bos, Some(byte_level(true)), tokens)?,
            "decoder": byte_level(true),
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": null,
                "end_of_word_suffix": null,
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": kind.ignore_merges,
                "vocab": vocab,
                "merges": merges,
            },
        });
        Ok(text.to_string().into_bytes())
    }

    pub(super) fn texts(&self, key: &str) -> Result<&[String]> {
        match self.metadata().get(key) {
            Some(GgufValue::Texts(texts)) => Ok(texts),
            Some(_) => Err(self.error(key, "should be a list of strings")),
            None => Err(self.error(key, "is missing")),
        }
    }

    /// The type of each token, if the file has them.
    pub(super) fn token_types(&self, tokens: usize) -> Result<Option<Vec<i64>>> {
        const KEY: &str = "tokenizer.ggml.token_type";
        let kinds = match self.metadata().get(KEY) {
            None => return Ok(None),
            Some(GgufValue::Numbers(kinds)) => kinds,
            Some(_) => return Err(self.error(KEY, "should be a list of numbers")),
        };
        let kinds: Vec<i64> = kinds.iter().map(|kind| kind as i64).collect();
        if kinds.len() != tokens {
            let why = format!("has {} entries for {tokens} tokens", kinds.len());
            return Err(self.error(KEY, why));
        }
        Ok(Some(kinds))
    }

    /// Control tokens and the unknown one, which `skip_special` leaves out, and user-defined ones.
    pub(super) fn added_tokens(&self, tokens: &[String]) -> Result<Vec<Value>> {
        let Some(kinds) = self.token_types(tokens.len())? else { return Ok(Vec::new()) };
        let added = kinds.iter().zip(tokens).enumerate();
        let added =
            added.filter(|(_, (kind, _))| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED));
        Ok(added
            .map(|(id, (kind, token))| {
                json!({
                    "id": id, "content": token, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": *kind != USER_DEFINED,
                })
            })
            .collect())
    }

    /// What puts the first token in front of a text, behind what else there is to do; `add_bos` where the file does not say.
    pub(super) fn post_processor(
        &self,
        add_bos: bool,
        plain: Option<Value>,
        tokens: &[String],
    ) -> Result<Value> {
        if !self.bool("tokenizer.ggml.add_bos_token")?.unwrap_or(add_bos) {
            return Ok(plain.unwrap_or_default());
        }
        const KEY: &str = "tokenizer.ggml.bos_token_id";
        let id = self.token(KEY)?.ok_or_else(|| {
            self.error(KEY, "is missing, although texts are to start with this token")
        })?;
        let token = tokens.get(id as usize).ok_or_else(|| {
            self.error(KEY, format!("{id} is outside the vocabulary of {}", tokens.len()))
        })?;
        let first = |type_id: u32| json!({"SpecialToken": {"id": token, "type_id": type_id}});
        let text = |id: &str, type_id: u32| json!({"Sequence": {"id": id, "type_id": type_id}});
        let template = json!({
            "type": "TemplateProcessing",
            "single": [first(0), text("A", 0)],
            "pair": [first(0), text("A", 0), first(1), text("B", 1)],
            "special_tokens": {token: {"id": token, "ids": [id], "tokens": [token]}},
        });
        Ok(match plain {
            Some(plain) => json!({"type": "Sequence", "processors": [plain, template]}),
            None => template,
        })
    }
}
