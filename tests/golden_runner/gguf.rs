//! `gguf`: blocks of every element type against PyPI `gguf`'s values, and the real model from its
//! one GGUF file: weights, tokenizer, mean loss.

use super::judge::{Case, Judge, Outcome};
use super::set::Set;
use super::smollm2::{sequence, whole_text};
use super::{base, devices, models, tokenizer};
use half::bf16;
use pollster::block_on;
use serde_json::Value;
use wgpu_lora::format::{Checkpoint, GgufFile, GgufType, SafetensorsFile};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::Quant;

const BLOCKS: &str = "gguf/blocks.safetensors";
const MODEL: &str = "smollm2-135m.gguf";

/// Relative difference of a text's mean loss: NF4 codes of the exact weights and of those rounded
/// to bf16 differ.
const MEAN_LOSS: f64 = 5e-3;

const TYPES: [(&str, GgufType); 10] = [
    ("F16", GgufType::F16),
    ("BF16", GgufType::BF16),
    ("Q4_0", GgufType::Q4_0),
    ("Q4_1", GgufType::Q4_1),
    ("Q5_0", GgufType::Q5_0),
    ("Q5_1", GgufType::Q5_1),
    ("Q8_0", GgufType::Q8_0),
    ("Q4_K", GgufType::Q4K),
    ("Q5_K", GgufType::Q5K),
    ("Q6_K", GgufType::Q6K),
];

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let (a, b, c) = (set.clone(), set.clone(), set.clone());
    Ok(vec![
        Case::new("gguf/blocks", move |judge| blocks(judge, &a)),
        Case::new("gguf/smollm2 weights", weights),
        Case::new("gguf/smollm2 tokenizer", move |judge| {
            let golden = b.json("tokenizer/smollm2.json")?;
            let file = GgufFile::open_path(models::path(MODEL)?)?;
            tokenizer::judge(judge, &file.tokenizer()?, &golden)
        }),
        Case::new("gguf/smollm2 mean loss", move |judge| {
            loss(judge, &c.json("smollm2/smollm2.json")?)
        }),
    ])
}

fn blocks(judge: &mut Judge, set: &Set) -> Outcome {
    let file = SafetensorsFile::open_path(set.path(BLOCKS))?;
    for (name, kind) in TYPES {
        let (mut raw, mut got) = (Vec::new(), Vec::new());
        let key = format!("{name}.blocks");
        file.read_bytes(&key, 0..file.info(&key)?.bytes, &mut raw)?;
        let key = format!("{name}.values");
        let want = file.read_f32(&key, 0..file.info(&key)?.elements())?;
        kind.dequantize(&raw, &mut got);
        let same = got.len() == want.len();
        let others = got.iter().zip(&want).filter(|(g, w)| g.to_bits() != w.to_bits()).count();
        judge.compare(&format!("{name}, other values"), others as f64 + f64::from(!same), 0.0);
    }
    Ok(())
}

/// The folder beside the file was made from it by a converter that shares no code with the reader:
/// equal after rounding to bf16, bit by bit, read whole or in pieces.
fn weights(judge: &mut Judge) -> Outcome {
    let gguf = Checkpoint::open(models::path(MODEL)?)?;
    let folder = Checkpoint::open(models::path("smollm2-135m")?)?;
    let (a, b): (Vec<_>, Vec<_>) = (gguf.names().collect(), folder.names().collect());
    judge.compare("other names", f64::from(a != b), 0.0);
    let (mut others, mut pieces) = (0, 0);
    for name in a {
        let n = folder.info(name)?.elements();
        let (got, want) = (gguf.read_f32(name, 0..n)?, folder.read_f32(name, 0..n)?);
        others +=
            got.iter().zip(&want).filter(|(g, w)| bf16::from_f32(**g).to_f32() != **w).count();
        let part = n / 3..n / 3 + n.min(2000) / 2;
        pieces += usize::from(gguf.read_f32(name, part.clone())? != got[part.clone()]);
        let mut bytes = Vec::new();
        let size = gguf.info(name)?.dtype.bytes();
        gguf.read_bytes(name, (part.start * size) as u64..(part.end * size) as u64, &mut bytes)?;
        pieces += usize::from(bytes.len() != part.len() * size);
    }
    judge.compare("weights that differ after rounding to bf16", others as f64, 0.0);
    judge.compare("tensors that differ when read in pieces", pieces as f64, 0.0);
    Ok(())
}

fn mean_loss(gpu: &Gpu, golden: &Value, quant: Quant) -> Outcome<f64> {
    let path = models::path(MODEL)?;
    let checkpoint = Checkpoint::open(&path)?;
    let config = GgufFile::open_path(&path)?.config()?;
    let batch = whole_text(golden)?;
    let tokens = batch.ids.len();
    let model = base::load(gpu, &checkpoint, &config, quant, tokens)?;
    let space = model.workspace(sequence(tokens), None)?;
    let nll = block_on(model.token_nll(&space, &batch))?;
    Ok(nll.iter().map(|&v| f64::from(v)).sum::<f64>() / nll.len() as f64)
}

fn loss(judge: &mut Judge, golden: &Value) -> Outcome {
    devices::each_affordable(judge, |judge, device| {
        for (variant, quant) in [("f32", Quant::None), ("nf4dq", Quant::Nf4)] {
            let Some(want) = golden["variants"][variant]["mean_nll"].as_f64() else { continue };
            let got = mean_loss(&device.gpu, golden, quant)?;
            judge.note(&format!("{variant}: {got:.6}, the bf16 folder's {want:.6}"));
            judge.compare(&format!("{variant}, relative"), (got / want - 1.0).abs(), MEAN_LOSS);
        }
        Ok(())
    })
}
