//! The families whose models are Llama's block with other data.

use crate::error::{Error, Result};

use super::json::Object;

/// A family of models. Their blocks differ in data only: biases, and whether attention looks back
/// all the way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// Llama 2, 3, 3.1, 3.2, TinyLlama, SmolLM2.
    #[default]
    Llama,
    /// Mistral 7B and its kind, without a sliding window or up to its length.
    Mistral,
    /// Qwen2 and Qwen2.5: q, k and v have biases.
    Qwen2,
}

impl Family {
    /// All of them.
    pub const ALL: [Family; 3] = [Family::Llama, Family::Mistral, Family::Qwen2];

    /// The name under `architectures` in `config.json`.
    pub fn architecture(self) -> &'static str {
        match self {
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen2 => "Qwen2ForCausalLM",
        }
    }

    /// `model_type` in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
        }
    }

    /// `general.architecture` in GGUF, where Mistral is a Llama.
    pub fn gguf(self) -> &'static str {
        match self {
            Self::Llama | Self::Mistral => "llama",
            Self::Qwen2 => "qwen2",
        }
    }

    /// Whether GGUF stores the rows of q and k in the pairs that rotate together.
    pub fn gguf_permutes(self) -> bool {
        self.gguf() == "llama"
    }

    /// Whether q, k and v have biases.
    pub fn qkv_bias(self) -> bool {
        self == Self::Qwen2
    }

    /// What works, for refusals.
    pub(super) fn works() -> String {
        let names = Self::ALL.map(Self::architecture);
        format!("{} work (Llama 3.2 and models of its architecture)", names.join(", "))
    }

    /// The family of a `config.json`; refuses what the family's blocks cannot do.
    pub(super) fn of(o: &Object<'_>) -> Result<Self> {
        let listed = o.strings("architectures")?;
        let Some(list) = &listed else {
            let Some(name) = o.string("model_type")? else {
                return Err(o.error("architectures", format!("is missing: {}", Self::works())));
            };
            let found = Self::ALL.into_iter().find(|f| f.model_type() == name);
            return found.ok_or_else(|| o.unsupported("model_type", name, &Self::works()));
        };
        let refused = || o.unsupported("architectures", list.join(", "), &Self::works());
        let known = |f: &Family| list.iter().any(|name| name == f.architecture());
        let by_name = Self::ALL.into_iter().find(known).ok_or_else(refused)?;
        // transformers goes by the type alone.
        match o.string("model_type")? {
            None => Ok(by_name),
            Some(name) => {
                let found = Self::ALL.into_iter().find(|f| f.model_type() == name);
                found.ok_or_else(|| o.unsupported("model_type", name, &Self::works()))
            }
        }
    }

    /// `num_key_value_heads` where the file has no such key; `None`: as many as heads.
    pub(super) fn num_key_value_heads(self) -> Option<usize> {
        match self {
            Self::Llama => None,
            Self::Mistral => Some(8),
            Self::Qwen2 => Some(32),
        }
    }

    /// `max_position_embeddings` where the file has no such key.
    pub(super) fn max_position_embeddings(self) -> usize {
        match self {
            Self::Llama => 2048,
            Self::Mistral => 131_072,
            Self::Qwen2 => 32_768,
        }
    }

    /// Tokens that attention looks back, if it is not all of them in every layer. Qwen2 has the
    /// number, a switch and the layers; Mistral's configurations without the key mean 4096; of
    /// Llama's only the cache knows a window.
    pub(super) fn sliding_window(self, o: &Object<'_>, layers: usize) -> Result<Option<usize>> {
        const KEY: &str = "sliding_window";
        const SLIDING: &str = "sliding_attention";
        let types = o.strings("layer_types")?;
        let other = |t: &&String| !["full_attention", "attention", SLIDING].contains(&t.as_str());
        if let Some(other) = types.iter().flatten().find(other) {
            let hint = "full_attention and sliding_attention work";
            return Err(o.unsupported("layer_types", other, hint));
        }
        let slides = types.as_ref().map(|types| types.iter().any(|t| t == SLIDING));
        let number = |default| match o.has(KEY) {
            true => o.size(KEY),
            false => Ok(default),
        };
        let (window, slides) = match self {
            Self::Llama => (number(None)?, slides == Some(true)),
            Self::Mistral => (number(Some(4096))?, slides == Some(true)),
            Self::Qwen2 => {
                let window = match o.bool("use_sliding_window")?.unwrap_or(false) {
                    true => number(Some(4096))?,
                    false => None,
                };
                let from = o.number("max_window_layers")?.unwrap_or(28.0);
                let slides = slides.unwrap_or(window.is_some() && (layers as f64) > from);
                (window.filter(|_| slides), slides)
            }
        };
        if slides && window.is_none() {
            let hint = "layers that slide need a sliding_window";
            return Err(o.unsupported("layer_types", SLIDING, hint));
        }
        Ok(window)
    }
}

/// Refuses sequences that a sliding window would cut: up to its length nothing differs from full
/// attention.
pub(crate) fn check_window(window: Option<usize>, tokens: usize) -> Result<()> {
    match window {
        Some(window) if tokens > window => Err(Error::Unsupported {
            what: format!("a sequence of {tokens} tokens with a sliding window of {window}"),
            hint: format!(
                "sequences of up to {window} tokens work, where the window changes nothing"
            ),
        }),
        _ => Ok(()),
    }
}
