//! `config.json` for a model that comes from another format.

use serde_json::{Value, json};

use super::config::ModelConfig;
use crate::format::rope::RopeScaling;
use crate::format::safetensors::DType;

impl ModelConfig {
    /// The `config.json` that transformers reads, for weights of type `dtype`.
    pub fn to_json(&self, dtype: DType) -> String {
        let mut rope = json!({"rope_type": "default", "rope_theta": self.rope.theta});
        match &self.rope.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => {
                rope["rope_type"] = json!("linear");
                rope["factor"] = json!(factor);
            }
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            } => {
                rope["rope_type"] = json!("llama3");
                rope["factor"] = json!(factor);
                rope["low_freq_factor"] = json!(low_freq_factor);
                rope["high_freq_factor"] = json!(high_freq_factor);
                rope["original_max_position_embeddings"] = json!(original_max_position_embeddings);
            }
            RopeScaling::Dynamic { factor, .. } => {
                rope["rope_type"] = json!("dynamic");
                rope["factor"] = json!(factor);
            }
            RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                truncate,
                attention_factor,
            } => {
                rope["rope_type"] = json!("yarn");
                rope["factor"] = json!(factor);
                rope["original_max_position_embeddings"] = json!(original_max_position_embeddings);
                rope["beta_fast"] = json!(beta_fast);
                rope["beta_slow"] = json!(beta_slow);
                rope["truncate"] = json!(truncate);
                rope["attention_factor"] = json!(attention_factor);
            }
            RopeScaling::LongRope {
                short_factor,
                long_factor,
                original_max_position_embeddings,
                attention_factor,
            } => {
                rope["rope_type"] = json!("longrope");
                rope["short_factor"] = json!(short_factor);
                rope["long_factor"] = json!(long_factor);
                rope["original_max_position_embeddings"] = json!(original_max_position_embeddings);
                rope["attention_factor"] = json!(attention_factor);
            }
            RopeScaling::Proportional { factor, part } => {
                rope["rope_type"] = json!("proportional");
                rope["factor"] = json!(factor);
                rope["partial_rotary_factor"] = json!(part);
            }
        }
        let eos = match self.eos_token_ids.as_slice() {
            [] => Value::Null,
            [one] => json!(one),
            many => json!(many),
        };
        let name = match dtype {
            DType::F32 => "float32",
            DType::F16 => "float16",
            _ => "bfloat16",
        };
        let mut value = json!({
            "architectures": [self.family.architecture()],
            "model_type": self.family.model_type(),
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size,
            "vocab_size": self.vocab_size,
            // The shortest decimal that is this f32.
            "rms_norm_eps": self.rms_norm_eps.to_string().parse::<f64>().unwrap_or(1e-5),
            "tie_word_embeddings": self.tie_word_embeddings,
            "max_position_embeddings": self.max_position_embeddings,
            "rope_theta": self.rope.theta,
            "rope_parameters": rope,
            "bos_token_id": self.bos_token_id,
            "eos_token_id": eos,
            "pad_token_id": self.pad_token_id,
            "sliding_window": self.sliding_window,
            "dtype": name,
            "torch_dtype": name,
        });
        if self.rope.scaling != RopeScaling::None {
            value["rope_scaling"] = value["rope_parameters"].clone();
        }
        if self.family.qkv_bias() {
            value["use_sliding_window"] = json!(self.sliding_window.is_some());
        }
        format!("{value:#}\n")
    }
}
