//! A `tokenizer.json` as GGUF metadata: the way back from `tokenizer.rs` and `spm.rs`.

use serde_json::Value;

use super::pre::PreTokenizer;
use super::special::{BYTE, CONTROL, NORMAL, UNKNOWN, UNUSED, USER_DEFINED};
use super::spm::byte_token;
use super::spm_vocab::{self, Spm, refuse};
use super::write::GgufField;
use crate::error::{Error, Result};
use crate::format::json;
use crate::format::tokenizer::Tokenizer;

/// The tokens of an embedding's rows and their types. Added tokens beyond the embedding are left
/// out: no model has a vector for them, and llama.cpp wants a token for each row, neither more nor
/// less.
fn tokens(json: &Value, rows: usize, spm: bool) -> Result<(Vec<String>, Vec<i64>)> {
    let model = &json["model"];
    let mut tokens = vec![None; rows];
    let mut kinds = vec![NORMAL; rows];
    let mut put = |id: &Value, token: &str, kind: i64| {
        let id = id.as_u64().and_then(|id| usize::try_from(id).ok());
        let slot = id.filter(|id| *id < rows)?;
        tokens[slot] = Some(token.to_owned());
        kinds[slot] = kind;
        Some(slot)
    };
    let bytes: Vec<String> = (0..=255).map(byte_token).collect();
    for (token, id) in model["vocab"].as_object().into_iter().flatten() {
        let byte = spm && bytes.contains(token);
        put(id, token, if byte { BYTE } else { NORMAL }).ok_or_else(|| {
            Error::format("tokenizer.json", format!("token {token:?}"), "is beyond the embedding")
        })?;
    }
    for added in json["added_tokens"].as_array().into_iter().flatten() {
        let token = added["content"].as_str().unwrap_or_default();
        let kind = match added["special"] == true {
            true if spm && model["unk_token"] == token => UNKNOWN,
            true => CONTROL,
            false => USER_DEFINED,
        };
        put(&added["id"], token, kind);
    }
    // Embeddings are often larger than the vocabulary.
    let name = |(id, token): (usize, Option<String>)| {
        token.unwrap_or_else(|| {
            kinds[id] = UNUSED;
            format!("[PAD{id}]")
        })
    };
    let tokens = tokens.into_iter().enumerate().map(name).collect();
    Ok((tokens, kinds))
}

/// The merges, each a pair.
pub(super) fn pairs(model: &Value) -> Result<Vec<(String, String)>> {
    let pair = |pair: &Value| {
        let (a, b) = match pair {
            Value::String(text) => text.split_once(' ')?,
            pair => (pair[0].as_str()?, pair[1].as_str()?),
        };
        Some((a.to_owned(), b.to_owned()))
    };
    let pairs: Option<_> = model["merges"].as_array().into_iter().flatten().map(pair).collect();
    pairs.ok_or_else(|| refuse("merges that are no pairs"))
}

/// `tokenizer.ggml.*` of a tokenizer, for an embedding of `rows` rows.
///
/// llama.cpp puts SentencePiece's first space before every text and behind every special token;
/// Metaspace may leave it out there, which no key says.
///
/// **Errors** [`Error::Unsupported`] for another kind of tokenizer than byte-level BPE and
/// SentencePiece's BPE, or a pre-tokenizer that llama.cpp has no name for.
pub fn tokenizer_fields(tokenizer: &Tokenizer, rows: usize) -> Result<Vec<(String, GgufField)>> {
    let text = tokenizer.to_json()?;
    let json: Value = json::parse("tokenizer.json", text.as_bytes())?;
    let model = &json["model"];
    if model["type"] != "BPE" {
        return Err(refuse("a tokenizer that is no BPE"));
    }
    let spm = match model["byte_fallback"] == true {
        true => Some(Spm::of(&json)?),
        false => None,
    };
    let (tokens, kinds) = tokens(&json, rows, spm.is_some())?;
    let mut fields: Vec<(String, GgufField)> = Vec::new();
    let mut field = |key: &str, value| fields.push((format!("tokenizer.ggml.{key}"), value));
    let text = |text: &str| GgufField::Text(text.to_owned());
    match spm {
        Some(spm) => {
            field("model", text("llama"));
            field("pre", text("default"));
            let scores = spm_vocab::scores(&pairs(model)?, &tokens, &kinds)?;
            field("scores", GgufField::F32s(scores));
            field("add_space_prefix", GgufField::Bool(spm.prefix));
        }
        None => {
            if !(json["normalizer"].is_null() || json["normalizer"]["type"] == "NFC") {
                return Err(refuse("its normalizer"));
            }
            let pairs = pairs(model)?;
            // Without merges a token is a byte, whatever the words are.
            let any = PreTokenizer::named("gpt-2").filter(|_| pairs.is_empty());
            let kind = PreTokenizer::of(&json["pre_tokenizer"]).or(any);
            let kind = kind.ok_or_else(|| refuse("its pre-tokenizer"))?;
            field("model", text("gpt2"));
            field("pre", text(kind.names[0]));
            let merges = pairs.into_iter().map(|(a, b)| format!("{a} {b}")).collect();
            field("merges", GgufField::Texts(merges));
        }
    }
    let id_of = |token: &str| tokens.iter().position(|t| t == token).map(|id| id as u32);
    let unknown = model["unk_token"].as_str().and_then(id_of);
    let mut around = Around::default();
    around.read(&json["post_processor"])?;
    let [bos, eos] = around.0;
    field("add_bos_token", GgufField::Bool(bos.is_some()));
    field("add_eos_token", GgufField::Bool(eos.is_some()));
    let special = [
        ("bos_token_id", bos.as_deref().map_or(tokenizer.bos_id(), id_of)),
        ("eos_token_id", eos.as_deref().map_or(tokenizer.eos_id(), id_of)),
        ("unknown_token_id", unknown),
        ("padding_token_id", tokenizer.pad_id()),
    ];
    for (key, id) in special {
        if let Some(id) = id.filter(|id| (*id as usize) < rows) {
            field(key, GgufField::U32(id));
        }
    }
    field("token_type", GgufField::I32s(kinds.into_iter().map(|kind| kind as i32).collect()));
    field("tokens", GgufField::Texts(tokens));
    Ok(fields)
}

/// The tokens before and behind a text.
#[derive(Default)]
struct Around([Option<String>; 2]);

impl Around {
    /// From a post-processor.
    fn read(&mut self, post: &Value) -> Result<()> {
        match post["type"].as_str() {
            Some("TemplateProcessing") => {
                let parts = post["single"].as_array().map_or(&[][..], Vec::as_slice);
                let text = parts.iter().position(|part| part["Sequence"].is_object());
                let text = text.ok_or_else(|| refuse("a template without a text"))?;
                let sides = [&parts[..text], &parts[text + 1..]];
                for (side, tokens) in self.0.iter_mut().zip(sides) {
                    match tokens {
                        [] => {}
                        [one] if side.is_none() => {
                            *side = one["SpecialToken"]["id"].as_str().map(str::to_owned);
                        }
                        _ => return Err(refuse("several tokens around a text")),
                    }
                }
                Ok(())
            }
            Some("Sequence") => {
                let steps = post["processors"].as_array().into_iter().flatten();
                steps.into_iter().try_for_each(|step| self.read(step))
            }
            None | Some("ByteLevel") => Ok(()),
            Some(_) => Err(refuse("its post-processor")),
        }
    }
}
