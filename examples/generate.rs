//! Streams an answer: `cargo run --release --example generate -- MODEL "The capital of France is" [ADAPTER]`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::Write;
use wgpu_lora::format::{AdapterFile, Checkpoint, ModelConfig, Tokenizer};
use wgpu_lora::generate::{GenerateOptions, Generator};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{LoadOptions, Model};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [folder, prompt, adapter @ ..] = args.as_slice() else {
        return Err("usage: generate MODEL PROMPT [ADAPTER]".into());
    };
    pollster::block_on(async {
        let gpu = Gpu::new().await?;
        let (files, config) = (Checkpoint::open(folder)?, ModelConfig::from_dir(folder)?);
        let quiet: &mut dyn FnMut(u64, u64) = &mut |_, _| {};
        let mut model = Model::load(&gpu, &files, &config, LoadOptions::default(), quiet).await?;
        if let Some(adapter) = adapter.first() {
            model.add_adapter("mine", &AdapterFile::load(adapter)?, false).await?;
        }
        let tokenizer = Tokenizer::from_file(folder)?;
        let options = GenerateOptions { max_new_tokens: 24, ..Default::default() };
        let mut answer = Generator::new(&model, &tokenizer, prompt, options)?;
        while let Some(token) = answer.next().await? {
            print!("{}", token.text);
            std::io::stdout().flush()?;
        }
        println!();
        Ok(())
    })
}
