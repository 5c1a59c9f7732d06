//! A `tokenizer.json` as GGUF metadata: the way back from `gguf_tokenizer.rs`.

use serde_json::Value;

use super::gguf_tokenizer::{CONTROL, KINDS, PreTokenizer, UNUSED, USER_DEFINED};
use super::gguf_write::GgufField;
use super::tokenizer::Tokenizer;
use crate::error::{Error, Result};

const NORMAL: i32 = 1;

/// `tokenizer.ggml.*` of a byte-level BPE tokenizer, for an embedding of `rows` rows.
///
/// **Errors** [`Error::Unsupported`] for another kind of tokenizer, or a pre-tokenizer that llama.cpp has no name for.
pub fn tokenizer_fields(tokenizer: &Tokenizer, rows: usize) -> Result<Vec<(String, GgufField)>> {
    let text = tokenizer.to_json()?;
    let json: Value = super::json::parse("tokenizer.json", text.as_bytes())?;
    let refuse = |what: &str| Error::Unsupported {
        what: format!("tokenizer.json: {what} in GGUF"),
        hint: "byte-level BPE as Llama 3, SmolLM2, Qwen2 and GPT-2 have it works".into(),
    };
    let model = &json["model"];
    if model["type"] != "BPE" || model["byte_fallback"] == true {
        return Err(refuse("a tokenizer that is no byte-level BPE"));
    }
    // Without merges a token is a byte, whatever the words are.
    let bytes = model["merges"].as_array().is_none_or(Vec::is_empty);
    let any = KINDS.iter().find(|kind| bytes && kind.names.contains(&"gpt-2"));
    let kind = kind(&json["pre_tokenizer"]).or(any).ok_or_else(|| refuse("its pre-tokenizer"))?;
    let mut tokens = vec![None; rows];
    let mut kinds = vec![NORMAL; rows];
    let mut put = |id: Option<u64>, token: &str, kind: i32| {
        let slot = id.and_then(|id| usize::try_from(id).ok()).filter(|id| *id < rows);
        let slot = slot.ok_or_else(|| {
            Error::format("tokenizer.json", format!("token {token:?}"), "is beyond the embedding")
        })?;
        tokens[slot] = Some(token.to_owned());
        kinds[slot] = kind;
        Ok(())
    };
    for (token, id) in model["vocab"].as_object().into_iter().flatten() {
        put(id.as_u64(), token, NORMAL)?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == true { CONTROL } else { USER_DEFINED };
        let token = added["content"].as_str().unwrap_or_default();
        put(added["id"].as_u64(), token, kind as i32)?;
    }
    // Embeddings are often larger than the vocabulary.
    let tokens: Vec<String> = tokens
        .into_iter()
        .enumerate()
        .map(|(id, token)| {
            token.unwrap_or_else(|| {
                kinds[id] = UNUSED as i32;
                format!("[PAD{id}]")
            })
        })
        .collect();
    let merge = |pair: &Value| match pair {
        Value::String(text) => Some(text.clone()),
        pair => Some(format!("{} {}", pair[0].as_str()?, pair[1].as_str()?)),
    };
    let merges: Option<Vec<String>> =
        model["merges"].as_array().into_iter().flatten().map(merge).collect();
    let merges = merges.ok_or_else(|| refuse("merges that are no pairs"))?;
    let mut fields: Vec<(String, GgufField)> = Vec::new();
    let mut field = |key: &str, value| fields.push((format!("tokenizer.ggml.{key}"), value));
    field("model", GgufField::Text("gpt2".into()));
    field("pre", GgufField::Text(kind.names[0].into()));
    field("tokens", GgufField::Texts(tokens));
    field("token_type", GgufField::I32s(kinds));
    field("merges", GgufField::Texts(merges));
    field("add_bos_token", GgufField::Bool(adds_first_token(&json["post_processor"])));
    let special = [
        ("bos_token_id", tokenizer.bos_id()),
        ("eos_token_id", tokenizer.eos_id()),
        ("padding_token_id", tokenizer.pad_id()),
    ];
    for (key, id) in special {
        if let Some(id) = id {
            field(key, GgufField::U32(id));
        }
    }
    Ok(fields)
}

/// The kind whose steps these are.
fn kind(pre: &Value) -> Option<&'static PreTokenizer> {
    let one = [pre.clone()];
    let steps = pre["pretokenizers"].as_array().map_or(&one[..], Vec::as_slice);
    let digits = steps.iter().any(|s| s["type"] == "Digits" && s["individual_digits"] == true);
    let split = steps.iter().find(|step| step["type"] == "Split");
    let pattern = split.map(|step| step["pattern"]["Regex"].as_str().unwrap_or_default());
    let level = steps.iter().find(|step| step["type"] == "ByteLevel")?;
    let known = ["Digits", "Split", "ByteLevel"];
    let all_known = steps.iter().all(|s| known.iter().any(|name| s["type"] == *name));
    // GPT-2's words come from ByteLevel itself, those of the others from their Split.
    let words = level["use_regex"] == pattern.is_none();
    let plain = level["add_prefix_space"] != true && all_known && words;
    KINDS.iter().find(|kind| plain && kind.digits == digits && kind.pattern == pattern)
}

/// Whether a template begins with a special token.
fn adds_first_token(post: &Value) -> bool {
    match post["type"].as_str() {
        Some("TemplateProcessing") => post["single"][0]["SpecialToken"].is_object(),
        Some("Sequence") => {
            post["processors"].as_array().into_iter().flatten().any(adds_first_token)
        }
        _ => false,
    }
}
