//! Three steps of QLoRA from Rust: `cargo run --release --example train -- MODEL ROWS.jsonl OUT`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use wgpu_lora::data::{Dataset, DatasetOptions};
use wgpu_lora::format::{Checkpoint, ModelConfig, Tokenizer};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{LoadOptions, Model};
use wgpu_lora::train::config::TrainConfig;
use wgpu_lora::train::event::Event;
use wgpu_lora::train::run::Run;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, rows, out] = args.as_slice() else {
        return Err("usage: train MODEL ROWS.jsonl OUT".into());
    };
    pollster::block_on(async {
        let gpu = Gpu::new().await?;
        let (files, config) = (Checkpoint::open(folder)?, ModelConfig::from_dir(folder)?);
        let quiet: &mut dyn FnMut(u64, u64) = &mut |_, _| {};
        let model = Model::load(&gpu, &files, &config, LoadOptions::default(), quiet).await?;
        let tokenizer = Tokenizer::from_file(folder)?;
        let rows = Dataset::open(&[rows], &tokenizer, &DatasetOptions::default())?;
        let settings = TrainConfig {
            model: folder.clone(),
            rank: 8,
            max_steps: Some(3),
            ..Default::default()
        };
        let mut run = Run::new(model, rows, None, settings, out.as_ref(), false).await?;
        while let Some(event) = run.next().await? {
            if let Event::Step { step, .. } = event {
                println!("step {}  loss {:.4}  |g| {:.3}", step.step, step.loss, step.grad_norm);
            }
        }
        println!("the adapter is in {out}/adapter, in PEFT's layout");
        Ok(())
    })
}
