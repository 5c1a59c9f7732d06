//! The tokenizer classes of transformers that put a pipeline of their own around the vocabulary of
//! a `tokenizer.json`.
//!
//! **Source** transformers 5.24: `AutoTokenizer`, `TokenizersBackend`, and the classes named here.

use serde_json::{Value, json};
use tokenizers::decoders::{DecoderWrapper, sequence::Sequence as Decoders};
use tokenizers::decoders::{byte_fallback::ByteFallback, fuse::Fuse, strip::Strip};
use tokenizers::normalizers::{NFC, NormalizerWrapper, Replace};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{ModelWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use crate::error::{Error, Result, brief};
use crate::format::json::Object;

/// Whose pipeline cuts texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// That of `tokenizer.json`.
    File,
    /// `LlamaTokenizer`: SentencePiece's.
    Llama,
    /// `GPT2Tokenizer`.
    Gpt2,
    /// `Qwen2Tokenizer`.
    Qwen2,
}

/// Classes of transformers, without `Tokenizer`, that build a pipeline which is not built here.
const OTHERS: &str = "Albert Barthez Bert BigBird Blenderbot BlenderbotSmall Camembert CLIP CodeGen CodeLlama Cohere \
    Deberta DebertaV2 DistilBert Electra ESMC Funnel Gemma GPTNeoX Herbert Lasr LayoutLM LayoutLMv2 LayoutLMv3 LayoutXLM \
    Lxmert Longformer Luke MarkupLM MBart MBart50 MLuke MobileBert MPNet MT5 MVP Nllb Nougat OpenAIGPT Parakeet Pegasus \
    Qwen3_5 Reformer RemBert Roberta SeamlessM4T Siglip2 Splinter SqueezeBert T5 Tipsv2 Udop VideoPrism Whisper XGLM \
    XLMRoberta XLNet";

const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

impl Class {
    /// The class that `AutoTokenizer` takes: `named` in `tokenizer_config.json` or `config.json`,
    /// of a model of type `model`; `byte_level` says whether `tokenizer.json` speaks of that.
    ///
    /// **Errors** [`Error::Unsupported`].
    pub(super) fn of(
        label: &str,
        named: Option<&str>,
        model: Option<&str>,
        byte_level: bool,
    ) -> Result<Class> {
        match model {
            // Whatever a file says.
            Some("qwen2") => return Ok(Class::Qwen2),
            Some("mistral") => return Ok(Class::File),
            _ => {}
        }
        let Some(named) = named else { return Ok(Class::File) };
        match named.strip_suffix("Fast").unwrap_or(named) {
            "LlamaTokenizer" if byte_level => Ok(Class::File),
            "LlamaTokenizer" => Ok(Class::Llama),
            "GPT2Tokenizer" => Ok(Class::Gpt2),
            "Qwen2Tokenizer" => Ok(Class::Qwen2),
            other => match other.strip_suffix("Tokenizer") {
                Some(name) if OTHERS.split_whitespace().any(|known| known == name) => {
                    Err(Error::Unsupported {
                        what: brief(format!("{label}: `tokenizer_class` = {named}")),
                        hint: "PreTrainedTokenizerFast, LlamaTokenizer, GPT2Tokenizer and Qwen2Tokenizer work".into(),
                    })
                }
                // What transformers does not know it takes as it lies in the file.
                _ => Ok(Class::File),
            },
        }
    }

    /// Its name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Class::File => "TokenizersBackend",
            Class::Llama => "LlamaTokenizer",
            Class::Gpt2 => "GPT2Tokenizer",
            Class::Qwen2 => "Qwen2Tokenizer",
        }
    }

    /// The named tokens that it has where nobody names any.
    pub(super) fn named(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Class::File => &[],
            Class::Llama => &[("unk_token", "<unk>"), ("bos_token", "<s>"), ("eos_token", "</s>")],
            Class::Gpt2 => &[("unk_token", END), ("bos_token", END), ("eos_token", END)],
            Class::Qwen2 => &[("unk_token", END), ("eos_token", END), ("pad_token", END)],
        }
    }

    /// A tokenizer of this class with the vocabulary, the merges and the post-processor of `file`,
    /// and no added tokens.
    ///
    /// **Errors** [`Error::Unsupported`] if the vocabulary is of another kind; as the crate.
    pub(super) fn around(
        self,
        label: &str,
        file: &tokenizers::Tokenizer,
        config: &Object<'_>,
    ) -> Result<tokenizers::Tokenizer> {
        let failed = |e: tokenizers::Error| Error::format(label, "tokenizer", e);
        let whole = |part: &Option<String>| part.as_ref().is_none_or(String::is_empty);
        let mut model = match file.get_model() {
            ModelWrapper::BPE(model)
                if whole(&model.continuing_subword_prefix) && whole(&model.end_of_word_suffix) =>
            {
                model.clone()
            }
            _ => {
                return Err(Error::Unsupported {
                    what: format!("{label}: {} of another vocabulary than plain BPE", self.name()),
                    hint: "transformers gives this class to every model of type qwen2; for another type, \
                           `tokenizer_class` PreTrainedTokenizerFast takes tokenizer.json as it is"
                        .into(),
                });
            }
        };
        let sentencepiece = self == Class::Llama;
        (model.dropout, model.unk_token, model.ignore_merges) = (None, None, false);
        (model.fuse_unk, model.byte_fallback) = (sentencepiece, sentencepiece);
        let mut out = tokenizers::Tokenizer::new(model);
        let space = config.bool("add_prefix_space")?;
        let normalizer: Option<NormalizerWrapper> = (self == Class::Qwen2).then(|| NFC.into());
        out.with_normalizer(normalizer).map_err(failed)?;
        let bytes = |regex| ByteLevel::new(space.unwrap_or(false), true, regex);
        let cut: PreTokenizerWrapper = match self {
            Class::Llama => {
                let scheme = match (space.unwrap_or(true), config.bool("legacy")?.unwrap_or(false))
                {
                    (false, _) => PrependScheme::Never,
                    (true, false) => PrependScheme::First,
                    (true, true) => PrependScheme::Always,
                };
                Metaspace::new('▁', scheme, false).into()
            }
            Class::Qwen2 => {
                let pattern = SplitPattern::Regex(QWEN2.into());
                let split = Split::new(pattern, SplitDelimiterBehavior::Isolated, false);
                let split = split.map_err(failed)?;
                Sequence::new(vec![split.into(), bytes(false).into()]).into()
            }
            _ => bytes(true).into(),
        };
        out.with_pre_tokenizer(Some(cut));
        let join: DecoderWrapper = match self {
            Class::Llama => {
                let mut parts: Vec<DecoderWrapper> = vec![
                    Replace::new("▁", " ").map_err(failed)?.into(),
                    ByteFallback::new().into(),
                    Fuse::new().into(),
                ];
                if space.unwrap_or(true) {
                    parts.push(Strip::new(' ', 1, 0).into());
                }
                Decoders::new(parts).into()
            }
            _ => bytes(true).into(),
        };
        out.with_decoder(Some(join));
        out.with_post_processor(file.get_post_processor().cloned());
        Ok(out)
    }
}

/// What cuts and joins texts, without what has no say in ids.
pub(super) fn pipeline(of: &tokenizers::Tokenizer) -> Value {
    fn plain(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.remove("trim_offsets");
                map.values_mut().for_each(plain);
            }
            Value::Array(list) => list.iter_mut().for_each(plain),
            _ => {}
        }
    }
    let mut value = json!([of.get_normalizer(), of.get_pre_tokenizer()]);
    plain(&mut value);
    value
}
