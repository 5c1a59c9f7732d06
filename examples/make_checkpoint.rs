//! A Llama checkpoint of a given shape with random weights, for measuring sizes that nobody can
//! download here.
//!
//! `cargo run --release --example make_checkpoint -- OUT TOKENIZER.json [CONFIG.json]`; the shape
//! of Llama 3.2 1B if no configuration is given. Weights are bf16, streamed in pieces of a MiB:
//! memory does not grow with the model.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, fs, path::Path};

use half::bf16;
use wgpu_lora::format::{DType, ModelConfig, SafetensorsWriter};
use wgpu_lora::random::pcg_hash;

/// `config.json` of meta-llama/Llama-3.2-1B.
const LLAMA_3_2_1B: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
  "intermediate_size": 8192, "vocab_size": 128256, "tie_word_embeddings": true, "rms_norm_eps": 1e-05,
  "max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0,
  "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, "torch_dtype": "bfloat16",
  "attention_bias": false, "mlp_bias": false, "bos_token_id": 128000, "eos_token_id": 128001}"#;

/// Near enough to a normal number of deviation 0.02: four uniform bytes, whose sum has variance 4 ·
/// (256² − 1) / 12.
fn weight(hash: u32) -> bf16 {
    let sum: i32 = hash.to_le_bytes().iter().map(|&byte| i32::from(byte)).sum();
    bf16::from_f32((sum - 510) as f32 * (0.02 / 147.8))
}

/// Every tensor of the model and its shape, by Hugging Face's names.
fn tensors(c: &ModelConfig) -> Vec<(String, Vec<usize>)> {
    let (d, f) = (c.hidden_size, c.intermediate_size);
    let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    let mut all = vec![("model.embed_tokens".to_owned(), vec![c.vocab_size, d])];
    for layer in 0..c.num_hidden_layers {
        let mut add = |name: &str, shape: &[usize]| {
            all.push((format!("model.layers.{layer}.{name}"), shape.to_vec()));
        };
        add("input_layernorm", &[d]);
        add("self_attn.q_proj", &[q, d]);
        add("self_attn.k_proj", &[kv, d]);
        add("self_attn.v_proj", &[kv, d]);
        add("self_attn.o_proj", &[d, q]);
        add("post_attention_layernorm", &[d]);
        add("mlp.gate_proj", &[f, d]);
        add("mlp.up_proj", &[f, d]);
        add("mlp.down_proj", &[d, f]);
    }
    all.push(("model.norm".to_owned(), vec![d]));
    if !c.tie_word_embeddings {
        all.push(("lm_head".to_owned(), vec![c.vocab_size, d]));
    }
    all.into_iter().map(|(name, shape)| (name + ".weight", shape)).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(out), Some(tokenizer)) = (arguments.next(), arguments.next()) else {
        return Err("usage: make_checkpoint OUT TOKENIZER.json [CONFIG.json]".into());
    };
    let text = arguments.next().map_or(Ok(LLAMA_3_2_1B.to_owned()), fs::read_to_string)?;
    let config = ModelConfig::from_json("configuration", text.as_bytes())?;
    let out = Path::new(&out);
    fs::create_dir_all(out)?;
    fs::write(out.join("config.json"), &text)?;
    fs::copy(tokenizer, out.join("tokenizer.json"))?;

    let tensors = tensors(&config);
    let announced: Vec<_> =
        tensors.iter().map(|(n, shape)| (n.as_str(), DType::BF16, shape.as_slice())).collect();
    let mut file =
        SafetensorsWriter::create(out.join("model.safetensors"), &announced, &[("format", "pt")])?;
    let mut piece = Vec::<bf16>::new();
    for (seed, (name, shape)) in (0u32..).zip(&tensors) {
        let elements: usize = shape.iter().product();
        for start in (0..elements).step_by(1 << 19) {
            let end = elements.min(start + (1 << 19));
            let norm = shape.len() == 1;
            piece.clear();
            piece.extend((start as u32..end as u32).map(|i| match norm {
                true => bf16::ONE,
                false => weight(pcg_hash(pcg_hash(i) ^ seed)),
            }));
            file.write(name, 2 * start as u64, bytemuck::cast_slice(&piece))?;
        }
    }
    Ok(file.finish()?)
}
