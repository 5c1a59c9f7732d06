//! The chat template that comes with a tokenizer.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::Tokenizer;
use crate::error::{Error, Result};
use crate::format::json::{self, Object};
use crate::format::moment::Moment;
use crate::format::template::ChatTemplate;

/// The special tokens that every tokenizer may have, in transformers' order.
const NAMES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// A token is a text, or an object with its text under `content`.
fn token(value: &Value) -> Option<Value> {
    let text = value.as_str().or_else(|| value.get("content")?.as_str())?;
    Some(text.into())
}

/// Special tokens by their names: transformers' own and those that a model adds, as
/// `extra_special_tokens` or as other keys that end in `_token`.
pub(super) fn special_tokens(o: &Object<'_>) -> Map<String, Value> {
    let added = |key: &&str| key.ends_with("_token") && !NAMES.contains(key);
    let names = NAMES.into_iter().map(str::to_owned);
    let names = names.chain(o.keys().filter(added).map(str::to_owned));
    let named = names.filter_map(|name| {
        let token = token(o.get(&name)?)?;
        Some((name, token))
    });
    let extra = o.get("extra_special_tokens").and_then(Value::as_object).into_iter().flatten();
    let extra = extra.filter_map(|(name, value)| Some((name.clone(), token(value)?)));
    named.chain(extra).collect()
}

fn text(path: &Path) -> Result<(String, String)> {
    let label = path.display().to_string();
    let text = String::from_utf8(json::read(path)?);
    Ok((label.clone(), text.map_err(|e| Error::format(&label, "content", e))?))
}

impl Tokenizer {
    /// Takes the template of a `tokenizer_config.json`: one, or several with names.
    pub(super) fn take_chat_template(&mut self, label: &str, o: &Object<'_>) {
        let named = |name: &str| {
            let all = o.get("chat_template")?.as_array()?.iter();
            // As in a mapping, the last of one name counts.
            let found = all.rev().find(|t| t.get("name").is_some_and(|n| n == name));
            found?.get("template")?.as_str()
        };
        let single = o.get("chat_template").and_then(Value::as_str);
        if let Some(text) = single.or_else(|| named("default")) {
            self.set_chat_template(label, text.to_owned());
        }
        self.chat_with_tools = named("tool_use").map(str::to_owned);
    }

    /// Takes the names of tokens and the templates of a file that has a vocabulary of its own. It
    /// says of each token whether it is found in texts, so that a name makes none special, unlike
    /// in a `tokenizer_config.json`.
    pub(in crate::format) fn take_metadata(&mut self, label: &str, config: &Value) -> Result<()> {
        let o = Object::new(label, config)?;
        let special = special_tokens(&o);
        let named =
            special.iter().filter_map(|(name, text)| Some((name.clone(), text.as_str()?.into())));
        self.named = named.collect();
        let id = |key: &str| self.named.get(key).and_then(|token| self.token_to_id(token));
        (self.bos, self.eos, self.pad) = (id("bos_token"), id("eos_token"), id("pad_token"));
        self.special = Some(special);
        self.take_chat_template(label, &o);
        Ok(())
    }

    /// Takes what lies beside a `tokenizer_config.json`: `chat_template.jinja` and
    /// `additional_chat_templates`, which are in the place of those in it, and the special tokens
    /// of an old `special_tokens_map.json`.
    pub(super) fn take_template_files(&mut self, config: &Path) -> Result<()> {
        let old = config.with_file_name("special_tokens_map.json");
        if old.is_file() && !self.lists_added_tokens(config)? {
            let label = old.display().to_string();
            let value: Value = json::parse(&label, &json::read(&old)?)?;
            let more = special_tokens(&Object::new(&label, &value)?);
            self.special.get_or_insert_default().extend(more);
        }
        let chat = config.with_file_name("chat_template.jinja");
        let folder = config.with_file_name("additional_chat_templates");
        let with_tools = folder.join("tool_use.jinja");
        let others = || fs::read_dir(&folder).into_iter().flatten().flatten();
        let is_template =
            |entry: fs::DirEntry| entry.path().extension().is_some_and(|e| e == "jinja");
        if chat.is_file() || others().any(is_template) {
            (self.chat, self.chat_with_tools) = (None, None);
        }
        if chat.is_file() {
            self.chat = Some(text(&chat)?);
        } else if folder.join("default.jinja").is_file() {
            self.chat = Some(text(&folder.join("default.jinja"))?);
        }
        if with_tools.is_file() {
            let (label, text) = text(&with_tools)?;
            self.chat.get_or_insert((label, text.clone()));
            self.chat_with_tools = Some(text);
        }
        Ok(())
    }

    /// Whether transformers takes special tokens from the configuration alone.
    fn lists_added_tokens(&self, config: &Path) -> Result<bool> {
        if !config.is_file() {
            return Ok(false);
        }
        let label = config.display().to_string();
        let value: Value = json::parse(&label, &json::read(config)?)?;
        Ok(value.get("added_tokens_decoder").is_some())
    }

    /// The text of the chat template, if there is one.
    pub fn chat_template_text(&self) -> Option<&str> {
        self.chat.as_ref().map(|(_, text)| text.as_str())
    }

    /// Takes a chat template; `label` is its name in messages.
    pub fn set_chat_template(&mut self, label: &str, text: String) {
        self.chat = Some((label.to_owned(), text));
        self.chat_with_tools = None;
    }

    /// Whether the chat template may write the date.
    pub fn asks_for_date(&self) -> bool {
        let texts = self.chat_template_text().into_iter().chain(self.chat_with_tools.as_deref());
        texts.into_iter().any(|text| text.contains("strftime_now"))
    }

    /// Takes the date that the chat template may write; without one it is that of the moment when
    /// the template is read.
    pub fn set_date(&mut self, date: Moment) {
        self.date = Some(date);
    }

    /// The model's chat template, from `chat_template.jinja` or `tokenizer_config.json`, with the
    /// special tokens that it may write.
    ///
    /// **Errors** [`Error::Unsupported`] if there is none; [`Error::Format`] if it is not Jinja.
    pub fn chat_template(&self) -> Result<ChatTemplate> {
        let Some((label, text)) = &self.chat else {
            return Err(Error::Unsupported {
                what: format!("{}: messages, for a model without a chat template,", self.name),
                hint:
                    "use the instruct model, put its chat_template.jinja beside tokenizer.json, or \
                       give prompt and completion"
                        .into(),
            });
        };
        let token = |id: Option<u32>| id.and_then(|id| self.id_to_token(id)).unwrap_or_default();
        let mut template = ChatTemplate::new(label, text, &token(self.bos), &token(self.eos))?;
        if let Some(special) = &self.special {
            template = template.with_variables(special.clone());
        }
        if let Some(text) = &self.chat_with_tools {
            template = template.with_tools(text)?;
        }
        Ok(match self.date {
            Some(date) => template.with_date(date),
            None => template,
        })
    }
}
