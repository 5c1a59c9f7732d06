//! What is looked at in a `tokenizer.json` before the tokenizers crate builds tables from it. That
//! crate panics on JSON that ends or breaks inside `decoder`; and its BPE builder copies a merge's
//! two parts into a buffer as long as the longest token, and panics where they do not fit.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokenizers::PostProcessorWrapper;

use crate::error::{Error, Result, brief};
use crate::format::json;

/// The models of the tokenizers crate.
const KINDS: [&str; 4] = ["BPE", "Unigram", "WordPiece", "WordLevel"];

/// Refuses merges that cannot give a token of the vocabulary, and ids beyond it. Nothing of the
/// file is kept while it is read.
pub(super) fn check_model(label: &str, bytes: &[u8]) -> Result<()> {
    let mut found = Found::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    // What is no JSON is told by the one who reads it all.
    let Ok(()) = Top(&mut found).deserialize(&mut reader) else { return Ok(()) };
    if found.precompiled {
        return Err(Error::Unsupported {
            what: format!("{label}: a normalizer of kind `Precompiled`"),
            hint: "byte-level BPE tokenizers, as Llama 3, SmolLM2 and Qwen2 have, work".into(),
        });
    }
    if let Some(kind) = found.kind.filter(|kind| !KINDS.contains(&kind.as_str())) {
        let hint = format!("{} work", KINDS.join(", "));
        return Err(Error::Unsupported {
            what: brief(format!("{label}: a tokenizer of type `{kind}`")),
            hint,
        });
    }
    // Room is made for as many ids as the largest says, and every token takes more than a byte of
    // the file.
    if found.id > bytes.len() as u64 {
        let why =
            format!("an id of {} in a file of {} bytes: it is damaged", found.id, bytes.len());
        return Err(Error::format(label, "key `model.vocab`", why));
    }
    let Some((longest, shortest)) = found.merges else { return Ok(()) };
    let fits = shortest >= found.prefix
        && longest.checked_sub(found.prefix).is_some_and(|bytes| bytes <= found.token);
    if fits && found.vocabularies < 2 {
        return Ok(());
    }
    let why = "a merge makes a token that the vocabulary does not have: the file is damaged";
    Err(Error::format(label, "key `model.merges`", why))
}

/// The JSON of a tokenizer whose merges fit.
pub(super) fn text<'a>(label: &str, bytes: &'a [u8]) -> Result<&'a [u8]> {
    let bytes = json::text(label, bytes)?;
    json::parse_any::<Walk>(label, bytes)?;
    if !bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Error::format(label, "top level", "should be a JSON object"));
    }
    check_model(label, bytes)?;
    Ok(bytes)
}

/// Refuses templates of tokens that the file does not define, or of a second text: there is one
/// text here.
pub(super) fn post_processor(label: &str, made: Option<&PostProcessorWrapper>) -> Result<()> {
    fn gap(processor: &Value) -> Option<String> {
        let list = |key: &str| processor[key].as_array().into_iter().flatten();
        let piece = |piece: &Value| match piece["SpecialToken"]["id"].as_str() {
            Some(id) => processor["special_tokens"].get(id).is_none().then(|| format!("`{id}`")),
            None => (piece["Sequence"]["id"] == "B").then(|| "a second text".into()),
        };
        list("single").find_map(piece).or_else(|| list("processors").find_map(gap))
    }
    let value = made.map(serde_json::to_value).transpose();
    let value = value.map_err(|e| Error::format(label, "key `post_processor`", e))?;
    match value.as_ref().and_then(gap) {
        None => Ok(()),
        Some(what) => {
            let why = format!("puts {what} around texts, which the file does not define");
            Err(Error::format(label, "key `post_processor`", why))
        }
    }
}

/// Any JSON, read to its end and not kept: numbers in range, whole characters, no deeper than the
/// parser allows.
struct Walk;

impl<'de> Deserialize<'de> for Walk {
    fn deserialize<D: Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        d.deserialize_any(Walk)
    }
}

impl<'de> Visitor<'de> for Walk {
    type Value = Walk;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Walk, E> {
        Ok(self)
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Walk, E> {
        Ok(self)
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Walk, E> {
        Ok(self)
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Walk, E> {
        Ok(self)
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Walk, E> {
        Ok(self)
    }

    fn visit_unit<E>(self) -> std::result::Result<Walk, E> {
        Ok(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Walk, A::Error> {
        while list.next_element::<Walk>()?.is_some() {}
        Ok(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Walk, A::Error> {
        while map.next_entry::<Walk, Walk>()?.is_some() {}
        Ok(self)
    }
}

#[derive(Default)]
struct Found {
    /// Bytes of the longest token.
    token: usize,
    /// The largest id of the vocabulary.
    id: u64,
    /// Bytes of the longest merge's two parts, and of the shortest second part.
    merges: Option<(usize, usize)>,
    /// Bytes of `continuing_subword_prefix`.
    prefix: usize,
    /// `model.type`.
    kind: Option<String>,
    vocabularies: usize,
    /// Whether a normalizer is a compiled table of SentencePiece, whose builder panics on damage.
    precompiled: bool,
}

/// Whether a normalizer, or one in it, is of this kind.
fn precompiled(normalizer: &Value) -> bool {
    let inner = normalizer["normalizers"].as_array().into_iter().flatten();
    normalizer.get("precompiled_charsmap").is_some()
        || normalizer["type"] == "Precompiled"
        || inner.into_iter().any(precompiled)
}

impl Found {
    fn merge(&mut self, a: usize, b: usize) {
        let (longest, shortest) = self.merges.unwrap_or((0, usize::MAX));
        self.merges = Some((longest.max(a + b), shortest.min(b)));
    }
}

/// Visits a value of any kind; what is of no interest is read over.
macro_rules! seed {
    ($name:ident, $expecting:literal, { $($methods:tt)* }) => {
        struct $name<'f>(&'f mut Found);

        impl<'de> DeserializeSeed<'de> for $name<'_> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, d: D) -> std::result::Result<(), D::Error> {
                d.deserialize_any(self)
            }
        }

        impl<'de> Visitor<'de> for $name<'_> {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }

            $($methods)*
        }
    };
}

seed!(Top, "an object", {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "model" => map.next_value_seed(Model(self.0))?,
                "normalizer" => self.0.precompiled |= precompiled(&map.next_value()?),
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
});

seed!(Model, "a model", {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            match &*key {
                "type" => self.0.kind = map.next_value::<Value>()?.as_str().map(str::to_owned),
                "vocab" => map.next_value_seed(Vocab(self.0))?,
                "merges" => map.next_value_seed(Merges(self.0))?,
                "continuing_subword_prefix" => {
                    let prefix = map.next_value::<Option<Cow<'de, str>>>()?;
                    self.0.prefix = self.0.prefix.max(prefix.map_or(0, |p| p.len()));
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
});

seed!(Vocab, "tokens and ids", {
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        self.0.vocabularies += 1;
        while let Some(token) = map.next_key::<Cow<'de, str>>()? {
            self.0.token = self.0.token.max(token.len());
            let id = map.next_value::<Value>()?;
            self.0.id = self.0.id.max(id.as_u64().unwrap_or(0));
        }
        Ok(())
    }

    // Unigram has a list.
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(())
    }
});

seed!(Merges, "merges", {
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        while list.next_element_seed(Merge(self.0))?.is_some() {}
        Ok(())
    }
});

seed!(Merge, "two tokens", {
    fn visit_str<E: serde::de::Error>(self, text: &str) -> std::result::Result<(), E> {
        let (a, b) = text.split_once(' ').ok_or_else(|| E::custom("no pair"))?;
        self.0.merge(a.len(), b.len());
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let next = |list: &mut A| list.next_element::<Cow<'de, str>>();
        let (Some(a), Some(b)) = (next(&mut list)?, next(&mut list)?) else {
            return Err(A::Error::custom("no pair"));
        };
        while list.next_element::<IgnoredAny>()?.is_some() {}
        self.0.merge(a.len(), b.len());
        Ok(())
    }
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_must_fit_into_the_longest_token() {
        let check = |model: &str| check_model("t", format!("{{\"model\":{model}}}").as_bytes());
        let vocab = r#""vocab":{"a":0,"bb":1,"abb":2}"#;
        assert!(check(&format!("{{{vocab},\"merges\":[[\"a\",\"bb\"]]}}")).is_ok());
        assert!(check(&format!("{{\"merges\":[\"a bb\"],{vocab}}}")).is_ok());
        assert!(check(&format!("{{{vocab},\"merges\":[\"bb bb\"]}}")).is_err());
        let prefix = "\"continuing_subword_prefix\":\"##\"";
        assert!(check(&format!("{{{vocab},{prefix},\"merges\":[\"bb a\"]}}")).is_err());
        assert!(check(&format!("{{{vocab},{vocab},\"merges\":[\"a bb\"]}}")).is_err());
        assert!(check(r#"{"vocab":{"a":7000000}}"#).unwrap_err().to_string().contains("7000000"));
        assert!(check_model("t", b"[1]").is_ok() && check_model("t", b"{").is_ok());
    }
}
