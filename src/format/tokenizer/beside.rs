//! What the files beside a `tokenizer.json` say about it: its class, and tokens that it does not
//! have.
//!
//! **Source** transformers 5.24, `PreTrainedTokenizerBase._from_pretrained` and
//! `TokenizersBackend.__init__`: tokens are added in its order, so that ids are the same.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use tokenizers::{AddedToken, ModelWrapper};

use super::class::{Class, pipeline};
use super::order;
use super::{Beside, Named, Tokenizer};
use crate::error::{Error, Result, brief};
use crate::format::json::{self, Object};

/// The tokens that transformers has names for, in its order.
const NAMED: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// Keys of `tokenizer_config.json` that are read, here or for templates, or have no say in ids and
/// texts.
const KNOWN: &str = "added_tokens_decoder extra_special_tokens additional_special_tokens tokenizer_class add_prefix_space \
    legacy clean_up_tokenization_spaces split_special_tokens chat_template model_max_length padding_side truncation_side \
    model_input_names backend is_local local_files_only processor_class max_length stride truncation_strategy \
    pad_to_multiple_of pad_token_type_id errors fix_mistral_regex use_default_system_prompt \
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";

/// A token to add; `normalized` follows `special` where nobody says.
#[derive(Clone, Debug, PartialEq)]
struct Token {
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: Option<bool>,
    special: bool,
}

impl Token {
    fn plain(content: &str, special: bool) -> Token {
        let (single_word, lstrip, rstrip) = (false, false, false);
        Token { content: content.into(), single_word, lstrip, rstrip, normalized: None, special }
    }

    /// A string is a special token; an object says.
    fn read(value: &Value) -> Option<Token> {
        if let Some(content) = value.as_str() {
            return Some(Token::plain(content, true));
        }
        let flag = |key: &str| match value.get(key) {
            None => Some(None),
            Some(flag) => flag.as_bool().map(Some),
        };
        Some(Token {
            content: value.get("content")?.as_str()?.to_owned(),
            single_word: flag("single_word")?.unwrap_or(false),
            lstrip: flag("lstrip")?.unwrap_or(false),
            rstrip: flag("rstrip")?.unwrap_or(false),
            normalized: flag("normalized")?,
            special: flag("special")?.unwrap_or(false),
        })
    }

    fn added(&self) -> AddedToken {
        AddedToken::from(self.content.clone(), self.special)
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
            .normalized(self.normalized.unwrap_or(!self.special))
    }
}

impl Tokenizer {
    /// Takes a `tokenizer_config.json`: special and added tokens, the class, the chat template.
    ///
    /// **Errors** as [`Tokenizer::apply`].
    pub fn apply_config(&mut self, label: &str, bytes: &[u8]) -> Result<()> {
        self.apply(Beside { config: Some((label, bytes)), ..Beside::default() })
    }

    /// Takes what the files beside the `tokenizer.json` say.
    ///
    /// **Errors** [`Error::Format`] for a file that is none of its kind, [`Error::Unsupported`] for
    /// a tokenizer class that is not built here, and for code.
    pub fn apply(&mut self, beside: Beside<'_>) -> Result<()> {
        let read = |file: Option<Named<'_>>| -> Result<(String, Value)> {
            match file {
                None => Ok((self.name.clone(), Value::Object(Map::new()))),
                Some((label, bytes)) => Ok((label.to_owned(), json::parse(label, bytes)?)),
            }
        };
        let (label, config) = read(beside.config)?;
        let (model_label, model) = read(beside.model)?;
        let (o, model) = (Object::new(&label, &config)?, Object::new(&model_label, &model)?);
        let mut set = config.as_object().cloned().unwrap_or_default();
        set.remove("tokenizer_class");
        refuse_others(&o)?;
        let extra = |set: &Map<String, Value>| set.get("extra_special_tokens").is_some_and(filled);
        if !extra(&set)
            && let Some(value) = set.remove("additional_special_tokens")
        {
            set.insert("extra_special_tokens".into(), value);
        }
        let mut specific = Vec::new();
        for (key, value) in &config.as_object().cloned().unwrap_or_default() {
            let own = key.ends_with("_token") && !NAMED.contains(&key.as_str());
            if own && text(value).is_some() {
                set.remove(key);
                specific.push((key.clone(), value.clone()));
            }
        }
        take_names(&mut set, &mut specific);
        let added = self.listed(&label, &o, &mut set, beside)?;
        take_names(&mut set, &mut specific);
        // Names that only special_tokens_map.json has come before the others.
        let own = |key: &str| key.ends_with("_token") && !NAMED.contains(&key);
        let late = set.iter().filter(|(key, value)| own(key) && text(value).is_some());
        let late: Vec<_> = late.map(|(key, value)| (key.clone(), value.clone())).collect();
        let ranked = |mut tokens: Vec<(String, Value)>, file: Option<Named<'_>>| {
            let keys = file.map_or(Vec::new(), |(_, bytes)| order::keys(bytes));
            tokens.sort_by_key(|(name, _)| keys.iter().position(|key| key == name));
            tokens
        };
        let mut specific = ranked(specific, beside.config);
        specific.splice(0..0, ranked(late, beside.special_tokens_map));
        if !set.contains_key("extra_special_tokens")
            && let Some(value) = set.remove("additional_special_tokens")
        {
            set.insert("extra_special_tokens".into(), value);
        }

        let named = o.string("tokenizer_class")?.or(model.string("tokenizer_class")?);
        let class = Class::of(&label, named, model.string("model_type")?, self.byte_level)?;
        if class != Class::File {
            let built = class.around(&label, &self.inner, &o)?;
            if pipeline(&built) != pipeline(&self.inner) {
                self.notes.push(format!(
                    "{}: its normalizer and pre_tokenizer are those of {}, as transformers 5 takes them for this model, \
                     not those in the file",
                    self.name,
                    class.name()
                ));
            }
            self.inner = built;
        }
        for (key, content) in class.named() {
            set.entry(*key).or_insert_with(|| (*content).into());
        }
        // GPT-2's class names its padding itself, be it none.
        if let Some(padding) = self.padding.as_ref().filter(|_| class != Class::Gpt2) {
            set.entry("pad_token").or_insert_with(|| padding.as_str().into());
        }

        let token = |key: &str, value: &Value| {
            Token::read(value)
                .ok_or_else(|| Error::format(&label, format!("key `{key}`"), "should be a token"))
        };
        let mut names: Vec<(String, Token)> = Vec::new();
        for key in NAMED {
            let Some(value) = set.get(key).filter(|value| !value.is_null()) else { continue };
            let mut one = token(key, value)?;
            if let Some(listed) = added.values().rev().find(|t| t.content == one.content) {
                one = listed.clone();
            }
            names.push((key.into(), one));
        }
        for (key, value) in &specific {
            names.push((key.clone(), token(key, value)?));
        }
        let mut extras = Vec::new();
        match set.get("extra_special_tokens") {
            Some(Value::Array(list)) => {
                for value in list {
                    extras.push(token("extra_special_tokens", value)?);
                }
            }
            None | Some(Value::Null) => {}
            Some(_) => return Err(o.error("extra_special_tokens", "should be a list of tokens")),
        }

        let mut tokens: Vec<Token> = added.into_values().collect();
        let mut known: Vec<String> =
            self.inner.get_added_vocabulary().get_vocab().keys().cloned().collect();
        known.extend(tokens.iter().map(|t| t.content.clone()));
        for one in names.iter().map(|(_, one)| one).chain(&extras) {
            if !known.contains(&one.content) && !tokens.contains(one) {
                tokens.push(one.clone());
            }
        }
        for one in &mut tokens {
            one.special |= names.iter().any(|(_, name)| name.content == one.content);
        }
        let failed = |e: tokenizers::Error| Error::format(&label, "added tokens", e);
        self.inner.add_tokens(tokens.iter().map(Token::added)).map_err(failed)?;
        if class == Class::Qwen2 {
            let all = names.iter().map(|(_, one)| one).chain(&extras);
            let all = all.map(|one| AddedToken::from(one.content.clone(), true));
            self.inner.add_tokens(all.collect::<Vec<_>>()).map_err(failed)?;
        }

        self.inner.set_encode_special_tokens(o.bool("split_special_tokens")?.unwrap_or(false));
        let forced = "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output";
        let bpe = matches!(self.inner.get_model(), ModelWrapper::BPE(_));
        self.cleans = o.bool("clean_up_tokenization_spaces")?.unwrap_or(false)
            && (!bpe || o.bool(forced)?.unwrap_or(false));
        if beside.config.is_some() || !names.is_empty() {
            let texts = names.iter().map(|(key, one)| (key.clone(), one.content.clone().into()));
            self.special = Some(texts.collect());
        }
        self.named = names.into_iter().map(|(key, one)| (key, one.content)).collect();
        let id = |key: &str| self.named.get(key).and_then(|token| self.inner.token_to_id(token));
        (self.bos, self.eos, self.pad) = (id("bos_token"), id("eos_token"), id("pad_token"));
        self.measure();
        self.take_chat_template(&label, &o);
        let own = |key: &str| {
            NAMED.contains(&key)
                || self.named.contains_key(key)
                || KNOWN.split_whitespace().any(|known| known == key)
        };
        let unread: Vec<&str> = o.keys().filter(|key| !own(key)).collect();
        if !unread.is_empty() {
            self.notes.push(brief(format!(
                "{label}: not read, as transformers does not where there is a tokenizer.json: {}",
                unread.join(", ")
            )));
        }
        Ok(())
    }

    /// The tokens that the files list by id: `added_tokens_decoder`, or what older files have in
    /// its place.
    fn listed(
        &self,
        label: &str,
        o: &Object<'_>,
        set: &mut Map<String, Value>,
        beside: Beside<'_>,
    ) -> Result<BTreeMap<u32, Token>> {
        let mut added = BTreeMap::new();
        let bad = |label: &str, key: &str| {
            Error::format(
                label,
                format!("key `{key}`"),
                "should be a token's id, with its text and flags",
            )
        };
        if let Some(list) = o.object("added_tokens_decoder")? {
            for key in list.keys() {
                let token = list.get(key).filter(|value| value.is_object()).and_then(Token::read);
                let id = key.parse().ok();
                let (id, token) = id.zip(token).ok_or_else(|| bad(label, key))?;
                added.insert(id, token);
            }
            return Ok(added);
        }
        if let Some((label, bytes)) = beside.special_tokens_map {
            let map: Map<String, Value> = json::parse(label, bytes)?;
            for (key, mut value) in map {
                if let Some(token) = value.as_object_mut().filter(|_| key != "extra_special_tokens")
                {
                    token.insert("special".into(), true.into());
                }
                if let (Value::Array(more), true) = (&mut value, key == "extra_special_tokens") {
                    let mut all = match set.get(&key) {
                        Some(Value::Array(list)) => list.clone(),
                        _ => Vec::new(),
                    };
                    for mut token in std::mem::take(more) {
                        if let Some(token) = token.as_object_mut() {
                            token.insert("special".into(), true.into());
                        }
                        if !all.contains(&token) {
                            all.push(token);
                        }
                    }
                    value = all.into();
                }
                set.insert(key, value);
            }
        }
        if let Some((label, bytes)) = beside.added_tokens {
            let map: Map<String, Value> = json::parse(label, bytes)?;
            // Objects of tokenizer_config.json are no tokens yet when transformers asks.
            let text = |value: &Value| text(value).filter(|_| value.get("__type").is_none());
            let mut special: Vec<String> =
                NAMED.iter().filter_map(|key| text(set.get(*key)?)).collect();
            if let Some(Value::Array(list)) = set.get("extra_special_tokens") {
                special.extend(list.iter().filter_map(text));
            }
            for (content, id) in map {
                let id = id.as_u64().and_then(|id| u32::try_from(id).ok());
                let id = id.ok_or_else(|| bad(label, &content))?;
                let special = special.contains(&content);
                // As it is now: one that a name makes special later is still looked for in the
                // normalized text.
                let token = Token { normalized: Some(!special), ..Token::plain(&content, special) };
                added.insert(id, token);
            }
        }
        for (id, token) in self.inner.get_added_tokens_decoder() {
            let AddedToken { content, single_word, lstrip, rstrip, normalized, special } = token;
            let normalized = Some(normalized);
            added.insert(id, Token { content, single_word, lstrip, rstrip, normalized, special });
        }
        Ok(added)
    }
}

/// The text of a token.
fn text(value: &Value) -> Option<String> {
    Token::read(value).map(|token| token.content)
}

fn filled(value: &Value) -> bool {
    match value {
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => false,
    }
}

/// Takes `extra_special_tokens` that have names.
fn take_names(set: &mut Map<String, Value>, names: &mut Vec<(String, Value)>) {
    const KEY: &str = "extra_special_tokens";
    if set.get(KEY).is_some_and(Value::is_object)
        && let Some(Value::Object(map)) = set.remove(KEY)
    {
        for (name, value) in map {
            names.retain(|(known, _)| *known != name);
            names.push((name, value));
        }
    }
}

/// What other files or code would do.
fn refuse_others(o: &Object<'_>) -> Result<()> {
    if let Some(map) = o.get("auto_map")
        && (map.is_array() || map.get("AutoTokenizer").is_some_and(|code| !code.is_null()))
    {
        let hint = "a tokenizer without Python code of its own works: remove the key if tokenizer.json is enough";
        return Err(o.unsupported("auto_map", map, hint));
    }
    if let Some(files) = o.strings("fast_tokenizer_files")?
        && let Some(other) = files.iter().find(|file| *file != "tokenizer.json")
    {
        let hint = "tokenizer.json works: give the version that is to be used this name";
        return Err(o.unsupported("fast_tokenizer_files", other, hint));
    }
    if o.bool("fix_mistral_regex")? == Some(true) {
        let hint = "a tokenizer.json that has the right pattern works";
        return Err(o.unsupported("fix_mistral_regex", true, hint));
    }
    Ok(())
}
