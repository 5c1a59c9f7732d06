//! A training loop of one's own, with a loss of one's own:
//! `cargo run --release --example own_loss [MODEL]`.
//!
//! The loss is a soft maximum over rows, L = log Σᵢ exp(NLLᵢ): its gradient is Σᵢ pᵢ ∇NLLᵢ with p =
//! softmax(NLL), so the rows that the model knows least count most. Any loss that is a function of
//! rows' NLLs goes like this.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use wgpu_lora::prelude::*;

const ROWS: &[u8] = br#"
{"prompt": "The opposite of hot is", "completion": " cold."}
{"prompt": "The opposite of day is", "completion": " night."}
{"prompt": "The opposite of a monosyllable is", "completion": " a polysyllable."}
"#;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).unwrap_or("assets/model".into());
    pollster::block_on(async {
        let gpu = Gpu::new().await?;
        let (mut model, tokenizer) = Model::open(&gpu, &model).await?;
        let rows = Dataset::from_text("rows", ROWS, &tokenizer, &DatasetOptions::default())?;
        let settings = TrainConfig { lora_dropout: 0.0, ..TrainConfig::default() };
        model.add_fresh_adapter("own", &settings.adapter_config(), settings.seed).await?;
        let schedule = Schedule::new(SchedulerType::Cosine, 1e-3, 0, 10)?;
        let options = TrainerOptions::of(&settings, Keep::Full);
        let longest = rows.report().longest;
        let largest = Pass { batch: 1, queries: longest, targets: longest };
        let mut trainer = Trainer::new(model, schedule, options, largest)?;
        let batches = Vec::from_iter((0..rows.len()).map(|row| Batch::new(&rows, &[row])));
        let batches = batches.into_iter().collect::<wgpu_lora::Result<Vec<_>>>()?;
        for step in 1..=10 {
            let mut nll = Vec::new();
            for batch in &batches {
                let tokens = trainer.model().token_nll(trainer.workspace(), batch).await?;
                nll.push(tokens.iter().map(|&nll| f64::from(nll)).sum::<f64>());
            }
            let loss = nll.iter().map(|nll| nll.exp()).sum::<f64>().ln();
            for (batch, nll) in batches.iter().zip(&nll) {
                trainer.backward(batch, (nll - loss).exp())?;
            }
            let norm = trainer.update().await?;
            println!("step {step}  loss {loss:.4}  |g| {norm:.3}");
        }
        Ok(())
    })
}
