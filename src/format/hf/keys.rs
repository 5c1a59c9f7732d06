//! Keys of `config.json` and `generation_config.json` besides those that make the shapes: refused
//! where the reference would compute something else, named where nobody reads them.
//!
//! **Source** transformers 5.24: the configurations of Llama, Mistral and Qwen2,
//! `PreTrainedConfig`, and the masks and caches that these models share.

use serde_json::Value;

use crate::error::{Result, brief};
use crate::format::family::Family;
use crate::format::json::Object;

/// Keys that are read, and keys that the reference knows and that have no say in what a model
/// computes.
const KNOWN: &str = "architectures model_type hidden_size num_hidden_layers num_attention_heads num_key_value_heads \
    head_dim intermediate_size vocab_size rms_norm_eps tie_word_embeddings max_position_embeddings sliding_window \
    use_sliding_window max_window_layers layer_types rope_parameters rope_scaling rope_theta partial_rotary_factor \
    original_max_position_embeddings bos_token_id eos_token_id pad_token_id dtype torch_dtype quantization_config \
    hidden_act attention_dropout is_encoder_decoder is_causal per_layer_config attention_chunk_size \
    transformers_weights tokenizer_class use_cache initializer_range return_dict output_hidden_states \
    output_attentions chunk_size_feed_forward id2label label2id num_labels problem_type tie_last_hidden_states \
    attn_implementation is_decoder";

/// Keys of Llama's alone.
const LLAMA: [&str; 2] = ["attention_bias", "mlp_bias"];

/// Refuses values under which the reference computes something else, and gives the keys that nobody
/// reads.
pub(super) fn check(o: &Object<'_>, family: Family) -> Result<Vec<String>> {
    if let Some(act) = o.string("hidden_act")?.filter(|act| !["silu", "swish"].contains(act)) {
        return Err(o.unsupported("hidden_act", act, "silu works"));
    }
    if family == Family::Llama {
        for key in LLAMA {
            if o.bool(key)? == Some(true) {
                let hint =
                    "biases on q, k and v of Qwen2 work, linear layers without bias elsewhere";
                return Err(o.unsupported(key, true, hint));
            }
        }
    }
    for (key, plain) in [("is_encoder_decoder", false), ("is_causal", true)] {
        if o.bool(key)?.is_some_and(|value| value != plain) {
            return Err(o.unsupported(key, !plain, "decoders with causal attention work"));
        }
    }
    if let Some(layers) = o.get("per_layer_config").filter(|v| !empty(v)) {
        return Err(o.unsupported("per_layer_config", layers, "layers that are all alike work"));
    }
    if let Some(size) = o.get("attention_chunk_size") {
        return Err(o.unsupported("attention_chunk_size", size, "full attention works"));
    }
    if let Some(file) = o.string("transformers_weights")?.filter(|f| *f != "model.safetensors") {
        let hint = "give the file that is to be read the name model.safetensors";
        return Err(o.unsupported("transformers_weights", file, hint));
    }
    let known = |key: &str| {
        KNOWN.split_whitespace().any(|known| known == key)
            || family == Family::Llama && LLAMA.contains(&key)
    };
    Ok(o.keys().filter(|key| !known(key)).map(str::to_owned).collect())
}

fn empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
}

/// One line for the keys of a file that nobody reads.
pub(super) fn unread(label: &str, keys: &[String]) -> Option<String> {
    let list = keys.join(", ");
    (!keys.is_empty()).then(|| {
        brief(format!("{label}: read neither here nor by transformers for this model: {list}"))
    })
}

/// What `generation_config.json` may say and is not done: its keys with the values that change
/// nothing.
const GENERATION: [(&str, &[&str]); 27] = [
    ("do_sample", &["false"]),
    ("temperature", &["1.0", "1", "0.0", "0"]),
    ("top_k", &["50", "0"]),
    ("top_p", &["1.0", "1"]),
    ("min_p", &[]),
    ("typical_p", &["1.0", "1"]),
    ("epsilon_cutoff", &["0.0", "0"]),
    ("eta_cutoff", &["0.0", "0"]),
    ("repetition_penalty", &["1.0", "1"]),
    ("encoder_repetition_penalty", &["1.0", "1"]),
    ("length_penalty", &["1.0", "1"]),
    ("no_repeat_ngram_size", &["0"]),
    ("bad_words_ids", &[]),
    ("sequence_bias", &[]),
    ("suppress_tokens", &["[]"]),
    ("begin_suppress_tokens", &["[]"]),
    ("forced_bos_token_id", &[]),
    ("forced_eos_token_id", &[]),
    ("min_length", &["0"]),
    ("min_new_tokens", &["0"]),
    ("exponential_decay_length_penalty", &[]),
    ("guidance_scale", &["1.0", "1"]),
    ("num_beams", &["1"]),
    ("num_beam_groups", &["1"]),
    ("penalty_alpha", &["0.0", "0"]),
    ("stop_strings", &[]),
    ("watermarking_config", &[]),
];

/// One line for what a `generation_config.json` asks for and answers here do not do by themselves.
pub(super) fn generation(label: &str, o: &Object<'_>) -> Option<String> {
    let asked = GENERATION.iter().filter_map(|(key, plain)| {
        let value = o.get(key)?.to_string();
        (!plain.contains(&value.as_str())).then(|| format!("{key} = {value}"))
    });
    let asked: Vec<String> = asked.collect();
    (!asked.is_empty()).then(|| {
        brief(format!(
            "{label}: not applied, answers are greedy unless flags say otherwise: {}",
            asked.join(", ")
        ))
    })
}
