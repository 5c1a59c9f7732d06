//! No submission of a large pass would take a slow GPU more than 100 ms. On wgpu's no-op device:
//! nothing is computed, so sizes may be real.

use crate::setup::*;
use std::time::Duration;
use wgpu_lora::format::ModelConfig;
use wgpu_lora::gpu::{Gpu, GpuOptions};
use wgpu_lora::model::{Keep, LoadOptions, Model, Pass, Quant};
use wgpu_lora::train::schedule::{Schedule, SchedulerType};
use wgpu_lora::train::trainer::Trainer;

/// One sequence; a product of the MLP has 17 GFLOP, attention 69, a chunk of the head 8.
const ROWS: usize = 8192;

fn config() -> ModelConfig {
    let json = r#"{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
        "hidden_size": 512, "num_hidden_layers": 1, "num_attention_heads": 8,
        "num_key_value_heads": 2, "head_dim": 64, "intermediate_size": 2048, "vocab_size": 16384,
        "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "tie_word_embeddings": true}"#;
    ModelConfig::from_json("test", json.as_bytes()).unwrap()
}

#[test]
fn none_is_longer_than_a_tenth_of_a_second() {
    let options = GpuOptions { validate_only: true, ..Default::default() };
    let gpu = block_on(Gpu::with(options)).unwrap();
    let config = config();
    let options = LoadOptions { quant: Quant::Nf4, max_positions: ROWS };
    let checkpoint = checkpoint(&config, |row, column| ((row + column) % 7) as f32);
    let mut silent = |_, _| {};
    let mut model =
        block_on(Model::load(&gpu, &checkpoint, &config, options, &mut silent)).unwrap();
    block_on(model.add_fresh_adapter("a", &adapter(16, &[]), 1)).unwrap();
    let pass = Pass { batch: 1, queries: ROWS, targets: ROWS - 1 };
    let schedule = Schedule::new(SchedulerType::Linear, 1e-2, 0, 10).unwrap();
    let mut trainer = Trainer::new(model, schedule, self::options(Keep::Full), pass).unwrap();
    block_on(trainer.step(&[batch(&[ROWS], 0)])).unwrap();

    let longest = gpu.longest_submission();
    assert!(longest <= Duration::from_millis(100), "{longest:?}");
    assert!(longest >= Duration::from_millis(80), "{longest:?}: what is counted?");
}
