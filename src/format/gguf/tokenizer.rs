//! A tokenizer from GGUF metadata, as the `tokenizer.json` that llama.cpp's tokenizer amounts to.

use serde_json::{Value, json};

use super::file::GgufFile;
use super::pre::{PreTokenizer, byte_level};
use super::special::{CONTROL, Tokens, UNKNOWN, UNUSED, USER_DEFINED};
use super::value::GgufValue;
use crate::error::Result;
use crate::format::tokenizer::Tokenizer;

/// The chat template; those with a name have it behind a dot.
const TEMPLATE: &str = "tokenizer.chat_template";

impl GgufFile {
    /// The chat template in the metadata.
    pub fn chat_template(&self) -> Option<&str> {
        self.text(TEMPLATE).ok().flatten()
    }

    /// Whether the tokenizer is SentencePiece's.
    pub(super) fn sentencepiece(&self) -> bool {
        matches!(self.text("tokenizer.ggml.model"), Ok(Some("llama")))
    }

    /// The tokenizer in the metadata.
    ///
    /// **Errors** as [`GgufFile::tokenizer_json`].
    pub fn tokenizer(&self) -> Result<Tokenizer> {
        let mut tokenizer = Tokenizer::from_bytes(self.name(), &self.tokenizer_json()?)?;
        let tokens = Tokens::read(self)?;
        let mut config = json!({
            "bos_token": tokens.text(tokens.bos),
            "eos_token": tokens.text(tokens.eos),
            "pad_token": tokens.text(tokens.padding),
        });
        let mut named = Vec::new();
        let keys = self.metadata().keys().filter(|key| key.starts_with(TEMPLATE));
        for key in keys {
            let name = match key.strip_prefix(TEMPLATE).and_then(|rest| rest.strip_prefix('.')) {
                Some(name) => name,
                None if key == TEMPLATE => "default",
                None => continue,
            };
            named.push(json!({"name": name, "template": self.text(key)?}));
        }
        match named.as_slice() {
            [] => {}
            [only] if only["name"] == "default" => {
                config["chat_template"] = only["template"].clone()
            }
            _ => config["chat_template"] = Value::Array(named),
        }
        tokenizer.take_metadata(self.name(), &config)?;
        Ok(tokenizer)
    }

    /// The tokenizer in the metadata as a `tokenizer.json`.
    ///
    /// **Errors** [`Error::Unsupported`](crate::Error::Unsupported) for another kind than
    /// byte-level BPE and SentencePiece, or an unknown pre-tokenizer;
    /// [`Error::Format`](crate::Error::Format) if vocabulary, types, scores and merges are missing
    /// or do not fit together.
    pub fn tokenizer_json(&self) -> Result<Vec<u8>> {
        const HINT: &str = "put the model's tokenizer.json beside the file";
        const SUPPRESSED: &str = "tokenizer.ggml.suppress_tokens";
        if let Some(GgufValue::Numbers(ids)) = self.metadata().get(SUPPRESSED)
            && ids.iter().next().is_some()
        {
            let hint = "every token may be generated here; remove the key if that is right";
            return Err(self.unsupported(format!("`{SUPPRESSED}`"), hint));
        }
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
        let pre = self.text("tokenizer.ggml.pre")?.filter(|pre| !pre.is_empty());
        let pre = pre.unwrap_or("default");
        let kind = PreTokenizer::named(pre).ok_or_else(|| {
            let hint = format!("{} work; {HINT}", PreTokenizer::works());
            self.unsupported(format!("pre-tokenizer `{pre}`"), hint)
        })?;
        let tokens = Tokens::read(self)?;
        let merges = self.texts("tokenizer.ggml.merges")?;
        // Rows of the embedding without a token have a name that says so.
        let used = tokens.texts.iter().zip(&tokens.kinds).enumerate();
        let used = used.filter(|(_, (_, kind))| **kind != UNUSED);
        let vocab: serde_json::Map<String, Value> =
            used.map(|(id, (token, _))| (token.clone(), json!(id))).collect();
        for (i, merge) in merges.iter().enumerate() {
            let pair = merge.split_once(' ');
            if pair.is_none_or(|(a, b)| !vocab.contains_key(a) || !vocab.contains_key(b)) {
                let why = format!("number {i}, {merge:?}, is no pair of tokens");
                return Err(self.error("tokenizer.ggml.merges", why));
            }
        }
        let post = self.post_processor(kind.add_bos, Some(byte_level(true)), &tokens)?;
        let text = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added_tokens(&tokens),
            "normalizer": null,
            "pre_tokenizer": kind.json(),
            "post_processor": post,
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
            // A list without elements may be of any type.
            Some(GgufValue::Numbers(none)) if none.iter().next().is_none() => Ok(&[]),
            Some(_) => Err(self.error(key, "should be a list of strings")),
            None => Err(self.error(key, "is missing")),
        }
    }

    /// What puts the first and the last token around a text, behind what else there is to do;
    /// `add_bos` where the file does not say.
    pub(super) fn post_processor(
        &self,
        add_bos: bool,
        plain: Option<Value>,
        tokens: &Tokens,
    ) -> Result<Value> {
        let around = |name: &str, otherwise: bool, id: Option<u32>| -> Result<_> {
            if !self.bool(&format!("tokenizer.ggml.add_{name}_token"))?.unwrap_or(otherwise) {
                return Ok(None);
            }
            let missing = || {
                let key = format!("tokenizer.ggml.{name}_token_id");
                self.error(&key, "is missing, although texts are to have this token")
            };
            let id = id.ok_or_else(missing)?;
            Ok(tokens.text(Some(id)).map(|token| (token, id)))
        };
        let (bos, eos) = (around("bos", add_bos, tokens.bos)?, around("eos", false, tokens.eos)?);
        let mut special = serde_json::Map::new();
        for (token, id) in [bos, eos].into_iter().flatten() {
            let entry = json!({"id": token, "ids": [id], "tokens": [token]});
            special.insert(token.to_owned(), entry);
        }
        if special.is_empty() {
            return Ok(plain.unwrap_or_default());
        }
        let part = |sequence: &str, type_id: u32| {
            let token = |(token, _)| json!({"SpecialToken": {"id": token, "type_id": type_id}});
            let text = json!({"Sequence": {"id": sequence, "type_id": type_id}});
            [bos.map(token), Some(text), eos.map(token)].into_iter().flatten().collect::<Vec<_>>()
        };
        let pair = [part("A", 0), part("B", 1)].concat();
        let template = json!({
            "type": "TemplateProcessing",
            "single": part("A", 0),
            "pair": pair,
            "special_tokens": special,
        });
        Ok(match plain {
            Some(plain) => json!({"type": "Sequence", "processors": [plain, template]}),
            None => template,
        })
    }
}

/// Control tokens and the unknown one, which [`Special::Without`](crate::format::Special) leaves
/// out, and user-defined ones.
pub(super) fn added_tokens(tokens: &Tokens) -> Vec<Value> {
    let all = tokens.kinds.iter().zip(&tokens.texts).enumerate();
    let added = all.filter(|(_, (kind, _))| matches!(**kind, UNKNOWN | CONTROL | USER_DEFINED));
    let entry = |(id, (kind, text)): (usize, (&i64, &String))| {
        // These three are not stripped behind, where the others are.
        let kept = ["<unk>", "<s>", "<|endoftext|>"].contains(&text.as_str());
        json!({
            "id": id, "content": text, "single_word": false, "lstrip": false,
            "rstrip": tokens.rstrip && !kept, "normalized": false, "special": *kind != USER_DEFINED,
        })
    };
    added.map(entry).collect()
}
