//! `quantization_config`: what bitsandbytes did to a checkpoint's linear layers.

use regex::bytes::{Regex, RegexBuilder};

use super::json::Object;
use crate::error::Result;

/// `quantization_config`: NF4 by bitsandbytes, anything else is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuantizationConfig {
    /// Whether the block scales are quantized too.
    pub double_quant: bool,
    /// Patterns of linear layers left as they were (`llm_int8_skip_modules`); see
    /// [`QuantizationConfig::keeps`].
    pub skip_modules: Vec<String>,
}

/// Keys that are read, or have no say in the numbers that come out in f32.
const KNOWN: [&str; 13] = [
    "quant_method",
    "load_in_4bit",
    "load_in_8bit",
    "_load_in_4bit",
    "_load_in_8bit",
    "bnb_4bit_quant_type",
    "bnb_4bit_use_double_quant",
    "bnb_4bit_compute_dtype",
    "bnb_4bit_quant_storage",
    "llm_int8_skip_modules",
    "llm_int8_threshold",
    "llm_int8_enable_fp32_cpu_offload",
    "llm_int8_has_fp16_weight",
];

impl QuantizationConfig {
    /// Whether a module (`model.layers.0.self_attn.q_proj`) was left as it was: a pattern matches
    /// its name from the start to the end of a part, or is how the name ends.
    ///
    /// **Source** `should_convert_module` of transformers 5.24.
    pub fn keeps(&self, module: &str) -> bool {
        self.skip_modules.iter().any(|key| {
            module.ends_with(key.as_str())
                || compile(key).is_some_and(|regex| {
                    let ends = (0..=module.len()).filter(|&end| {
                        let (before, behind) = (&module[..end], &module[end..]);
                        before.ends_with('.') || behind.is_empty() || behind.starts_with('.')
                    });
                    ends.into_iter().any(|end| regex.is_match(&module.as_bytes()[..end]))
                })
        })
    }

    /// From the object; keys that nobody reads are added to `unread`.
    pub(super) fn read(o: &Object<'_>, unread: &mut Vec<String>) -> Result<Self> {
        const HINT: &str =
            "bitsandbytes NF4 works; or take the model's unquantized weights and ‹quant = nf4›";
        let method = o.string("quant_method")?.unwrap_or("bitsandbytes");
        if method != "bitsandbytes" {
            return Err(o.unsupported("quant_method", method, HINT));
        }
        if o.bool("load_in_8bit")? == Some(true) {
            return Err(o.unsupported("load_in_8bit", true, HINT));
        }
        if o.bool("load_in_4bit")? == Some(false) {
            return Err(o.unsupported("load_in_4bit", false, HINT));
        }
        // fp4 is the default of bitsandbytes when the key is absent.
        let kind = o.string("bnb_4bit_quant_type")?.unwrap_or("fp4");
        if kind != "nf4" {
            return Err(o.unsupported("bnb_4bit_quant_type", kind, HINT));
        }
        let skip_modules = o.strings("llm_int8_skip_modules")?.unwrap_or_default();
        if let Some(pattern) = skip_modules.iter().find(|key| compile(key).is_none()) {
            let hint = "names and regular expressions without look-around work";
            return Err(o.unsupported("llm_int8_skip_modules", pattern, hint));
        }
        let others = o.keys().filter(|key| !KNOWN.contains(key));
        unread.extend(others.map(|key| format!("quantization_config.{key}")));
        let double_quant = o.bool("bnb_4bit_use_double_quant")?.unwrap_or(false);
        Ok(Self { double_quant, skip_modules })
    }
}

/// A pattern of a whole text.
fn compile(key: &str) -> Option<Regex> {
    let whole = format!(r"^(?:{key})$");
    RegexBuilder::new(&whole).unicode(false).size_limit(1 << 16).build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_end_with_a_part_of_the_name() {
        let keeps = |key: &str, module: &str| {
            let skip_modules = vec![key.to_owned()];
            QuantizationConfig { double_quant: false, skip_modules }.keeps(module)
        };
        let module = "model.layers.11.self_attn.q_proj";
        for key in [
            "q_proj",
            "proj",
            "self_attn.q_proj",
            "model.layers.11",
            "model.layers.11.self_attn",
            "model.layers.11.",
            ".*self_attn",
            r"model\.layers\.1\d",
            "model",
        ] {
            assert!(keeps(key, module), "{key}");
        }
        for key in
            ["model.layers.1", "self_attn", "layers.11", "model.layers.11.self", "k_proj", "Model"]
        {
            assert!(!keeps(key, module), "{key}");
        }
    }
}
