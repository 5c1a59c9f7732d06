//! The families whose models are Llama's block with other data.

use crate::error::{Error, Result};

use super::json::Object;

/// A family of models. Their blocks differ in data only: biases, and whether attention looks back all the way.
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
        let family = match (o.strings("architectures")?, o.string("model_type")?) {
            (Some(list), _) => {
                let known = |f: &Family| list.iter().any(|name| name == f.architecture());
                let found = Self::ALL.into_iter().find(known);
                found.ok_or_else(|| {
                    o.unsupported("architectures", list.join(", "), &Self::works())
                })?
            }
            (None, Some(name)) => {
                let found = Self::ALL.into_iter().find(|f| f.model_type() == name);
                found.ok_or_else(|| o.unsupported("model_type", name, &Self::works()))?
            }
            (None, None) => {
                return Err(o.error("architectures", format!("is missing: {}", Self::works())));
            }
        };
        if let Some(act) = o.string("hidden_act")?.filter(|act| *act != "silu") {
            return Err(o.unsupported("hidden_act", act, "silu works"));
        }
        for key in ["attention_bias", "mlp_bias"] {
            if o.bool(key)? == Some(true) {
                let hint =
                    "biases on q, k and v of Qwen2 work, linear layers without bias elsewhere";
                return Err(o.unsupported(key, true, hint));
            }
        }
        Ok(family)
    }

    /// Tokens that attention looks back, if it is not all of them. Qwen2 has the number and a switch; Mistral's
    /// configurations without the key mean 4096.
    pub(super) fn sliding_window(self, o: &Object<'_>) -> Result<Option<usize>> {
        const KEY: &str = "sliding_window";
        match self {
            Self::Llama => Ok(None),
            Self::Mistral if !o.has(KEY) => Ok(Some(4096)),
            Self::Mistral => o.size(KEY),
            Self::Qwen2 if o.bool("use_sliding_window")? == Some(true) => {
                o.size(KEY).map(|window| Some(window.unwrap_or(4096)))
            }
            Self::Qwen2 => Ok(None),
        }
    }
}

/// Refuses sequences that a sliding window would cut: up to its length nothing differs from full attention.
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
