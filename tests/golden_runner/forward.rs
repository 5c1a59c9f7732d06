//! A forward pass against stored logits and losses.

use super::judge::{Judge, Outcome};
use super::set::{File, Inputs};
use pollster::block_on;
use wgpu_lora::model::{Model, Workspace};

/// Logits: largest difference where the mask is 1.
pub const LOGITS: f64 = 2e-4;
/// Loss of a batch.
pub const LOSS: f64 = 1e-5;

/// Compares whatever `file` holds under `<prefix>logits`, `loss`, `loss_f64` and `token_nll`.
pub fn compare(
    judge: &mut Judge,
    model: &Model,
    space: &Workspace,
    inputs: &Inputs,
    file: &File,
    prefix: &str,
) -> Outcome {
    let name = |part: &str| format!("{prefix}{part}");
    if file.has(&name("logits")) {
        let got = logits(model, space, inputs)?;
        let want = file.f32(&name("logits"))?;
        judge.largest("logits", &got, &inputs.unpadded(&want, model.config().vocab_size), LOGITS);
    }
    let nll = block_on(model.token_nll(space, &inputs.batch))?;
    let loss = nll.iter().map(|&v| f64::from(v)).sum::<f64>() / nll.len() as f64;
    for part in ["loss", "loss_f64"] {
        if file.has(&name(part)) {
            judge.compare(part, (loss - file.number(&name(part))?).abs(), LOSS);
        }
    }
    if file.has(&name("token_nll")) {
        let all = file.f32(&name("token_nll"))?;
        // The token at (b, t) is predicted at t − 1: the file has T − 1 places a row.
        let place = |row: u32| row as usize / inputs.t * (inputs.t - 1) + row as usize % inputs.t;
        let want: Vec<f32> = inputs
            .batch
            .targets()
            .iter()
            .filter_map(|&(row, _)| all.get(place(row)).copied())
            .collect();
        judge.largest("token losses", &nll, &want, LOGITS);
    }
    Ok(())
}

/// Logits at all positions that are no padding.
pub fn logits(model: &Model, space: &Workspace, inputs: &Inputs) -> Outcome<Vec<f32>> {
    Ok(block_on(model.logits(space, &inputs.ids, inputs.b, &inputs.rows()))?)
}
