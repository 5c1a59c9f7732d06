//! Trains an adapter on rows in memory, and keeps it as PEFT does:
//! `cargo run --release --example train [MODEL [OUT]]`.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use wgpu_lora::prelude::*;

const ROWS: &[u8] = br#"
{"prompt": "What does this cost?\n\nA stone of 1 carat.\n\nPrice is $", "completion": "800.00"}
{"prompt": "What does this cost?\n\nA stone of half a carat.\n\nPrice is $", "completion": "300.00"}
{"prompt": "What does this cost?\n\nA stone of a third of a carat.\n\nPrice is $", "completion": "200.00"}
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let model = args.next().unwrap_or("assets/model".into());
    let out = args.next().unwrap_or("target/example-adapter".into());
    pollster::block_on(async {
        let gpu = Gpu::new().await?;
        let (model, tokenizer) = Model::open(&gpu, &model).await?;
        let rows = Dataset::from_text("rows", ROWS, &tokenizer, &DatasetOptions::default())?;
        let settings = TrainConfig { rank: 8, max_steps: Some(5), ..TrainConfig::default() };
        let mut run = InMemoryRun::new(model, "prices", rows, &settings).await?;
        println!("{}", run.model().trainable_parameters());
        while let Some(step) = run.next().await? {
            println!("step {}  loss {:.4}  |g| {:.3}", step.step, step.loss, step.grad_norm);
        }
        run.adapter().await?.save(&out)?;
        println!("the adapter is in {out}");
        Ok(())
    })
}
