//! A forward pass against stored logits and losses.

use super::judge::{Judge, Outcome, wrong};
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
    for part in ["logits", "loss", "loss_f64", "token_nll"] {
        let name = format!("{prefix}{part}");
        if file.has(&name) {
            compare_one(judge, model, space, inputs, file, (part, &name))?;
        }
    }
    Ok(())
}

/// Compares one kind of result with the tensor `name`.
pub fn compare_one(
    judge: &mut Judge,
    model: &Model,
    space: &Workspace,
    inputs: &Inputs,
    file: &File,
    (part, name): (&str, &str),
) -> Outcome {
    if part == "logits" {
        let got = logits(model, space, inputs)?;
        let want = inputs.unpadded(&file.f32(name)?, model.config().vocab_size);
        judge.largest(name, &got, &want, LOGITS);
        return Ok(());
    }
    let nll = block_on(model.token_nll(space, &inputs.batch))?;
    match part {
        "loss" | "loss_f64" => {
            let loss = nll.iter().map(|&v| f64::from(v)).sum::<f64>() / nll.len() as f64;
            judge.compare(name, (loss - file.number(name)?).abs(), LOSS);
        }
        "token_nll" => {
            let all = file.f32(name)?;
            // The token at (b, t + 1) is predicted at t: the file has T − 1 places a row.
            let place = |row: usize| row / inputs.t * (inputs.t - 1) + row % inputs.t;
            let (rows, targets) = (inputs.rows(), &inputs.batch.targets);
            let place = |row: u32| place(rows[row as usize] as usize);
            let want = targets.iter().filter_map(|target| all.get(place(target.row)).copied());
            judge.largest(name, &nll, &want.collect::<Vec<_>>(), LOGITS);
        }
        other => return wrong(format!("`{other}` is no known result of a forward pass")),
    }
    Ok(())
}

/// Logits at all positions that are no padding.
pub fn logits(model: &Model, space: &Workspace, inputs: &Inputs) -> Outcome<Vec<f32>> {
    Ok(block_on(model.logits(space, &inputs.ids, inputs.b, &inputs.rows()))?)
}
