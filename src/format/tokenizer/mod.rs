//! `tokenizer.json`: text to token ids and back.

mod beside;
mod chat;
mod check;
mod class;
mod decoding;
mod order;
mod stream;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

pub use self::stream::DecodeStream;
use super::json;
use super::moment::Moment;
use crate::error::{Error, Result};

/// Token ids, and the bytes of the text that each stands for.
pub type Offsets = (Vec<u32>, Vec<(usize, usize)>);

/// A file's name in messages, and its content.
pub type Named<'a> = (&'a str, &'a [u8]);

/// The files beside a `tokenizer.json`, those that are there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Beside<'a> {
    /// `tokenizer_config.json`.
    pub config: Option<Named<'a>>,
    /// `special_tokens_map.json`, read where the former lists no added tokens.
    pub special_tokens_map: Option<Named<'a>>,
    /// `added_tokens.json`, read as that one.
    pub added_tokens: Option<Named<'a>>,
    /// The model's `config.json`, whose type decides the tokenizer's class.
    pub model: Option<Named<'a>>,
}

/// What becomes of special tokens, those that the post-processor adds to a text or that ids hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Special {
    /// They are added to ids and kept in texts, as transformers does unless it is told otherwise.
    #[default]
    With,
    /// They are neither added (`add_special_tokens=False`) nor kept (`skip_special_tokens=True`).
    Without,
}

/// A tokenizer as transformers would apply it: no truncation, no padding, special tokens as its
/// post-processor says.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    name: String,
    vocab_size: usize,
    bos: Option<u32>,
    eos: Option<u32>,
    pad: Option<u32>,
    /// The tokens that have names, such as `bos_token`.
    named: BTreeMap<String, String>,
    /// Whether decoded texts lose the spaces in front of punctuation.
    cleans: bool,
    /// The token that `tokenizer.json` pads with.
    padding: Option<String>,
    /// Whether `tokenizer.json` speaks of bytes written as characters.
    byte_level: bool,
    /// What a user should know, a line each.
    notes: Vec<String>,
    /// Where the chat template was found, and its text.
    chat: Option<(String, String)>,
    /// The one for conversations with tools, if that is another.
    chat_with_tools: Option<String>,
    /// Special tokens by their names, as templates know them, where a tokenizer_config.json says
    /// so.
    special: Option<Map<String, Value>>,
    /// The date that templates may ask for.
    date: Option<Moment>,
}

impl Tokenizer {
    /// Opens a folder with `tokenizer.json` (and perhaps `tokenizer_config.json`), or such a file
    /// itself.
    ///
    /// **Errors** [`Error::Io`], [`Error::Format`].
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let file = if path.is_dir() { path.join("tokenizer.json") } else { path.to_path_buf() };
        if path.is_dir() && !file.is_file() {
            refuse_others(path)?;
        }
        let mut tokenizer = Self::from_bytes(&file.display().to_string(), &json::read(&file)?)?;
        let beside = |name: &str| -> Result<Option<(String, Vec<u8>)>> {
            let path = file.with_file_name(name);
            path.is_file().then(|| Ok((path.display().to_string(), json::read(&path)?))).transpose()
        };
        let config = beside("tokenizer_config.json")?;
        let special_tokens_map = beside("special_tokens_map.json")?;
        let (added_tokens, model) = (beside("added_tokens.json")?, beside("config.json")?);
        fn named(file: &Option<(String, Vec<u8>)>) -> Option<Named<'_>> {
            file.as_ref().map(|(label, bytes)| (label.as_str(), bytes.as_slice()))
        }
        tokenizer.apply(Beside {
            config: named(&config),
            special_tokens_map: named(&special_tokens_map),
            added_tokens: named(&added_tokens),
            model: named(&model),
        })?;
        let config = file.with_file_name("tokenizer_config.json");
        tokenizer.take_template_files(&config)?;
        Ok(tokenizer)
    }

    /// Reads a `tokenizer.json`; `name` is its name in messages.
    ///
    /// **Errors** [`Error::Format`].
    pub fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let mut inner = tokenizers::Tokenizer::from_bytes(check::text(name, bytes)?)
            .map_err(|e| Error::format(name, "tokenizer", e))?;
        check::post_processor(name, inner.get_post_processor())?;
        // Files often keep the settings of the last run that saved them; they would cut texts
        // silently.
        let padding = inner.get_padding().map(|padding| padding.pad_token.clone());
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| Error::format(name, "truncation", e))?;
        const BYTES: &[u8] = b"\"ByteLevel\"";
        let mut tokenizer = Self {
            inner,
            name: name.into(),
            vocab_size: 0,
            bos: None,
            eos: None,
            pad: None,
            named: BTreeMap::new(),
            cleans: false,
            padding,
            byte_level: bytes.windows(BYTES.len()).any(|window| window == BYTES),
            notes: Vec::new(),
            chat: None,
            chat_with_tools: None,
            special: None,
            date: None,
        };
        tokenizer.measure();
        Ok(tokenizer)
    }

    /// Counts the ids anew.
    fn measure(&mut self) {
        let ids = self.inner.get_vocab(true);
        self.vocab_size = ids.values().max().map_or(0, |id| *id as usize + 1);
    }

    /// What a user should know about its files, a line each.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Takes the special tokens that `tokenizer_config.json` left open from the model's
    /// configuration.
    pub fn complete(&mut self, config: &super::ModelConfig) {
        self.bos = self.bos.or(config.bos_token_id);
        self.eos = self.eos.or(config.eos_token_ids.first().copied());
        self.pad = self.pad.or(config.pad_token_id);
    }

    /// Token ids of a text, with or without the special tokens that the post-processor adds (Llama
    /// 3: the first one).
    ///
    /// Special tokens written out in the text are recognized, as in transformers.
    ///
    /// **Errors** [`Error::Format`] if the tokenizer's model cannot represent the text.
    pub fn encode(&self, text: &str, special: Special) -> Result<Vec<u32>> {
        let encoding = self.inner.encode_fast(text, special == Special::With);
        let encoding = encoding.map_err(|e| Error::format(&self.name, "text", e))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Token ids of a text that may go on, such as a prompt, with what the post-processor puts in
    /// front (BOS); and the ids that it puts behind texts (EOS), which would end this one.
    ///
    /// **Errors** as [`Tokenizer::encode`].
    pub fn encode_open(&self, text: &str) -> Result<(Vec<u32>, Vec<u32>)> {
        let encode = |text: &str| {
            let encoding = self.inner.encode_fast(text, true);
            let encoding = encoding.map_err(|e| Error::format(&self.name, "text", e))?;
            let added = encoding.get_special_tokens_mask();
            let behind = added.iter().rev().take_while(|added| **added == 1).count();
            Ok((encoding.get_ids().to_vec(), behind))
        };
        let (mut ids, mut behind) = encode(text)?;
        // Nothing tells what is in front of no text from what is behind it.
        if behind > 0 && behind == ids.len() {
            behind = encode("a")?.1.min(behind);
        }
        let closing = ids.split_off(ids.len() - behind);
        Ok((ids, closing))
    }

    /// Whether ids begin with two BOS: the text has one, and the tokenizer puts one in front.
    pub fn begins_twice(&self, ids: &[u32]) -> bool {
        self.bos.is_some_and(|bos| ids.starts_with(&[bos, bos]))
    }

    /// Whether an id is that of a special token, such as one that ends a turn.
    pub fn is_special(&self, id: u32) -> bool {
        let added = self.inner.get_added_vocabulary().get_added_tokens_decoder();
        self.eos == Some(id) || added.get(&id).is_some_and(|token| token.special)
    }

    /// Token ids of a text, nothing added, and the bytes of the text that each stands for.
    ///
    /// **Errors** as [`Tokenizer::encode`].
    pub fn encode_with_offsets(&self, text: &str) -> Result<Offsets> {
        let encoding = self.inner.encode(text, false);
        let encoding = encoding.map_err(|e| Error::format(&self.name, "text", e))?;
        Ok((encoding.get_ids().to_vec(), encoding.get_offsets().to_vec()))
    }

    /// The text of token ids, with or without special tokens. Unknown ids give nothing.
    ///
    /// **Errors** [`Error::Format`] if the tokenizer's decoder fails.
    pub fn decode(&self, ids: &[u32], special: Special) -> Result<String> {
        let text = self.inner.decode(ids, special == Special::Without);
        let text = text.map_err(|e| Error::format(&self.name, "tokens", e))?;
        Ok(if self.cleans { clean(text) } else { text })
    }

    /// One more than the largest id, added tokens included.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The tokenizer as a `tokenizer.json`.
    ///
    /// **Errors** [`Error::Format`] if it cannot be written.
    pub fn to_json(&self) -> Result<String> {
        self.inner.to_string(true).map_err(|e| Error::format(&self.name, "tokenizer", e))
    }

    /// The id of a token's text, such as `<|eot_id|>`.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The text of one token as the vocabulary writes it.
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// `bos_token` of `tokenizer_config.json`.
    pub fn bos_id(&self) -> Option<u32> {
        self.bos
    }

    /// `eos_token` of `tokenizer_config.json`. Prefer [`super::ModelConfig::eos_token_ids`] when
    /// there is one.
    pub fn eos_id(&self) -> Option<u32> {
        self.eos
    }

    /// `pad_token` of `tokenizer_config.json`. Llama 3.2 has none.
    pub fn pad_id(&self) -> Option<u32> {
        self.pad
    }
}

/// What `clean_up_tokenization_spaces` asks for.
fn clean(mut text: String) -> String {
    const PAIRS: [(&str, &str); 10] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    for (from, to) in PAIRS {
        text = text.replace(from, to);
    }
    text
}

/// Names the vocabulary that a folder has instead of a `tokenizer.json`.
fn refuse_others(folder: &Path) -> Result<()> {
    const OTHERS: [&str; 5] =
        ["tokenizer.model", "vocab.json", "merges.txt", "tekken.json", "tiktoken.model"];
    let Some(other) = OTHERS.iter().find(|name| folder.join(name).is_file()) else { return Ok(()) };
    Err(Error::Unsupported {
        what: format!("{}: a tokenizer of {other} without tokenizer.json", folder.display()),
        hint: "write one with AutoTokenizer.from_pretrained(folder).save_pretrained(folder)".into(),
    })
}
