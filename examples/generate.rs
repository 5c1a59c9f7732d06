//! One prompt, one model, two adapters: `cargo run --release --example generate [MODEL PROMPT
//! ADAPTER ADAPTER]`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::io::Write;

use wgpu_lora::prelude::*;

const USUAL: [&str; 4] = [
    "assets/model",
    "What does this cost to the nearest dollar?\n\nRing with a diamond of 0.31 carats\n\nPrice is $",
    "assets/adapter-diamonds",
    "assets/adapter-diamonds",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    args.extend(USUAL[args.len().min(4)..].iter().map(|usual| (*usual).to_owned()));
    pollster::block_on(async {
        let gpu = Gpu::new().await?;
        let (mut model, tokenizer) = Model::open(&gpu, &args[0]).await?;
        model.add_adapter("first", &AdapterFile::load(&args[2])?).await?;
        model.add_adapter("second", &AdapterFile::load(&args[3])?).await?;
        // Halfway between the base model and what was trained.
        model.set_adapter_scale("second", 0.5).await?;
        for adapter in [None, Some("first"), Some("second")] {
            model.set_adapter(adapter)?;
            print!("\n{}: ", adapter.unwrap_or("none"));
            let options = GenerateOptions { max_new_tokens: 12, ..GenerateOptions::default() };
            let mut answer = Generator::new(&model, &tokenizer, &args[1], options)?;
            while let Some(token) = answer.next().await? {
                print!("{}", token.text);
                std::io::stdout().flush()?;
            }
        }
        println!();
        Ok(())
    })
}
