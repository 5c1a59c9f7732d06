//! A Llama checkpoint of a given shape with random weights, for programs that need a file.
//! (`wgpu-lora bench … --model-shape` needs none.)
//!
//! `cargo run --release --example make_checkpoint -- OUT TOKENIZER.json [CONFIG.json]`; the shape
//! of Llama 3.2 1B if no configuration is given. Matrices are bf16, streamed in pieces of a MiB:
//! memory does not grow with the model.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::{error::Error, fs, path::Path};

use wgpu_lora::format::{Checkpoint, ModelConfig, SafetensorsWriter};

/// `config.json` of meta-llama/Llama-3.2-1B.
const LLAMA_3_2_1B: &str = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
  "hidden_size": 2048, "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8, "head_dim": 64,
  "intermediate_size": 8192, "vocab_size": 128256, "tie_word_embeddings": true, "rms_norm_eps": 1e-05,
  "max_position_embeddings": 131072, "rope_theta": 500000.0, "rope_scaling": {"rope_type": "llama3", "factor": 32.0,
  "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}, "torch_dtype": "bfloat16",
  "attention_bias": false, "mlp_bias": false, "bos_token_id": 128000, "eos_token_id": 128001}"#;

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

    let weights = Checkpoint::random("random weights", &config, false)?;
    let tensors = weights.names().map(|name| Ok((name, weights.info(name)?)));
    let tensors = tensors.collect::<wgpu_lora::Result<Vec<_>>>()?;
    let announced: Vec<_> =
        tensors.iter().map(|(name, info)| (*name, info.dtype, info.shape.as_slice())).collect();
    let mut file =
        SafetensorsWriter::create(out.join("model.safetensors"), &announced, &[("format", "pt")])?;
    let mut piece = Vec::new();
    for (name, info) in &tensors {
        for start in (0..info.bytes).step_by(1 << 20) {
            weights.read_bytes(name, start..info.bytes.min(start + (1 << 20)), &mut piece)?;
            file.write(name, start, &piece)?;
        }
    }
    Ok(file.finish()?)
}
