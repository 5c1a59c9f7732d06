//! A vocabulary that is kept in several pieces, in an odd model: hidden 8, one block that adds
//! nothing.

use crate::setup::*;
use wgpu_lora::format::ModelConfig;
use wgpu_lora::model::{Keep, LoadOptions, Model, Pass, Quant};

const D: usize = 8;
const V: usize = 70_001;

fn config() -> ModelConfig {
    let json = format!(
        r#"{{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
            "hidden_size": {D}, "num_hidden_layers": 1, "num_attention_heads": 2,
            "num_key_value_heads": 1, "head_dim": 4, "intermediate_size": 6, "vocab_size": {V},
            "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "tie_word_embeddings": true}}"#
    );
    ModelConfig::from_json("test", json.as_bytes()).unwrap()
}

/// Values that bf16 holds exactly.
fn embedding(row: usize, column: usize) -> f32 {
    ((row * 31 + column * 57 + row * column) % 255) as f32 / 128.0 - 1.0
}

#[test]
fn pieces_of_a_vocabulary_embed_and_predict() {
    let gpu = gpu();
    let config = config();
    const { assert!(V > 2 * wgpu_lora::gpu::SHARD_ROWS, "the vocabulary is in one piece") };
    let options = LoadOptions { quant: Quant::Nf4, max_positions: 8 };
    let mut silent = |_, _| {};
    let checkpoint = checkpoint(&config, embedding);
    let loading = Model::load(&gpu, &checkpoint, &config, options, &mut silent);
    let mut model = block_on(loading).unwrap();
    block_on(model.add_fresh_adapter("a", &adapter(2, &[]), 1)).unwrap();
    // Ids of each piece, and both sides of a border.
    let ids = [3u32, 32_767, 32_768, 65_535, 65_536, 70_000];
    let pass = Pass { batch: 1, queries: ids.len(), targets: ids.len() };
    let space = model.workspace(pass, Some(Keep::Recomputed)).unwrap();
    let rows: Vec<u32> = (0..ids.len() as u32).collect();
    let got = block_on(model.logits(&space, &ids, 1, &rows)).unwrap();
    for (t, id) in ids.iter().enumerate() {
        let x: Vec<f64> = (0..D).map(|c| f64::from(embedding(*id as usize, c))).collect();
        let rstd = 1.0 / (x.iter().map(|v| v * v).sum::<f64>() / D as f64 + 1e-5).sqrt();
        for row in (0..V).step_by(997).chain([0, 32_767, 32_768, 65_535, 65_536, V - 1]) {
            let dot: f64 = (0..D).map(|c| x[c] * rstd * f64::from(embedding(row, c))).sum();
            let logit = f64::from(got[t * V + row]);
            assert!((logit - dot).abs() < 1e-4, "token {id}, row {row}: {logit} is not {dot}");
        }
    }
}
