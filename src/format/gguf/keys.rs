//! Which metadata keys are a model's: those that are read, those under which llama.cpp would
//! compute something else, and those that nobody reads.
//!
//! **Source** `llama-model.cpp`, `llama-vocab.cpp`, `models/llama.cpp` and `models/qwen2.cpp`.

use super::file::GgufFile;
use super::value::{GgufValue, brief};
use crate::error::{Result, brief as shorten};

/// Keys of the architecture that are read here, or that llama.cpp reads without a say in what a
/// model computes.
const MODEL: &str = "vocab_size context_length embedding_length embedding_length_out block_count feed_forward_length \
    attention.head_count attention.head_count_kv attention.key_length attention.value_length attention.key_length_swa \
    attention.value_length_swa attention.layer_norm_rms_epsilon attention.causal rope.dimension_count \
    rope.dimension_count_swa rope.freq_base rope.scale_linear rope.scaling.type rope.scaling.factor \
    rope.scaling.attn_factor rope.scaling.original_context_length rope.scaling.finetuned rope.scaling.alpha \
    nextn_predict_layers expert_count expert_used_count expert_group_count expert_group_used_count pooling_type \
    classifier.pooling_type classifier.output_labels";

/// Keys of the tokenizer, likewise.
const TOKENIZER: &str = "ggml.model ggml.pre ggml.tokens ggml.token_type ggml.token_type_count ggml.scores ggml.merges \
    ggml.bos_token_id ggml.eos_token_id ggml.eot_token_id ggml.eom_token_id ggml.unknown_token_id \
    ggml.padding_token_id ggml.seperator_token_id ggml.mask_token_id ggml.cls_token_id ggml.fim_pre_token_id \
    ggml.fim_suf_token_id ggml.fim_mid_token_id ggml.fim_pad_token_id ggml.fim_rep_token_id ggml.fim_sep_token_id \
    ggml.prefix_token_id ggml.suffix_token_id ggml.middle_token_id ggml.add_bos_token ggml.add_eos_token \
    ggml.add_sep_token ggml.add_space_prefix ggml.remove_extra_whitespaces ggml.suppress_tokens \
    ggml.normalizer.lowercase ggml.normalizer.strip_accents chat_template chat_templates";

/// Keys that say where a model comes from.
const GENERAL: &str = "architecture alignment quantization_version file_type name type author version organization \
    basename finetune description quantized_by size_label license url doi uuid repo_url tags languages datasets";

/// The same, of which there are many.
const ORIGIN: [&str; 4] = ["license.", "source.", "base_model.", "dataset."];

/// Keys with another value than this one change what a model computes.
const PLAIN: [(&str, f64, &str); 5] = [
    ("expert_count", 0.0, "dense models work, mixtures of experts do not"),
    ("expert_used_count", 0.0, "dense models work, mixtures of experts do not"),
    ("expert_group_count", 0.0, "dense models work, mixtures of experts do not"),
    ("nextn_predict_layers", 0.0, "models without layers for further tokens work"),
    ("rope.scaling.attn_factor", 1.0, "rotary embeddings without a factor of attention work"),
];

impl GgufFile {
    /// Refuses values under which llama.cpp would compute something else.
    pub(super) fn check_keys(&self, arch: &str) -> Result<()> {
        for (name, plain, hint) in PLAIN {
            let key = format!("{arch}.{name}");
            let Some(value) = self.metadata().get(&key) else { continue };
            let other = match value {
                GgufValue::Numbers(list) => list.iter().any(|n| n != plain),
                _ => self.number(&key)? != Some(plain),
            };
            if other {
                return Err(self.unsupported(format!("`{key}` = {}", brief(value)), hint));
            }
        }
        let key = format!("{arch}.attention.causal");
        if self.bool(&key)? == Some(false) {
            return Err(self.unsupported(format!("`{key}` = false"), "causal attention works"));
        }
        Ok(())
    }

    /// A line for keys that nobody reads, and one for settings of llama.cpp's own programs.
    pub fn notes(&self) -> Vec<String> {
        let arch = self.text("general.architecture").ok().flatten().unwrap_or_default();
        let in_list = |list: &str, name: &str| list.split_whitespace().any(|known| known == name);
        let known = |key: &str| {
            let (room, rest) = key.split_once('.').unwrap_or((key, ""));
            match room {
                "general" => in_list(GENERAL, rest) || ORIGIN.iter().any(|o| rest.starts_with(o)),
                "tokenizer" => in_list(TOKENIZER, rest) || rest.starts_with("chat_template."),
                "split" => ["no", "count", "tensors.count"].contains(&rest),
                room => room == arch && in_list(MODEL, rest),
            }
        };
        let all = self.metadata().keys().map(String::as_str).filter(|key| !known(key));
        let (sampling, unread): (Vec<_>, Vec<_>) =
            all.partition(|key| key.starts_with("general.sampling."));
        let line = |keys: &[&str], what: &str| {
            let line = || shorten(format!("{}: {what}: {}", self.name(), keys.join(", ")));
            (!keys.is_empty()).then(line)
        };
        let unread = line(&unread, "read neither here nor by llama.cpp for this model");
        let sampling = line(&sampling, "defaults of llama.cpp's programs, not taken here");
        [unread, sampling].into_iter().flatten().collect()
    }
}
