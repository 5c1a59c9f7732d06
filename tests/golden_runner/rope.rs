//! `rope/<model>`: rotary frequencies and tables of published configurations, and the rotation that
//! shaders make of them.

use super::devices::{self, Device};
use super::judge::{Case, Judge, Outcome, worse, wrong};
use super::set::{File, Set};
use pollster::block_on;
use serde_json::{Value, json};
use wgpu_lora::format::ModelConfig;
use wgpu_lora::kernels::Rope;
use wgpu_lora::model::Module;

/// Relative difference of a frequency.
const FREQUENCY: f64 = 1e-6;

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let about = set.json("rope/rope.json")?;
    let mut cases = Vec::new();
    for name in set.folders("rope")? {
        cases.push(Case::broken(&format!("rope/{name}"), "an unknown folder"));
    }
    for file in set.files("rope")? {
        if file != "rope.json" && file != "rope.safetensors" {
            cases.push(Case::broken(&format!("rope/{file}"), "an unknown file"));
        }
    }
    let Some(models) = about["models"].as_object() else { return wrong("rope.json: no `models`") };
    for (name, model) in models {
        let (set, name, model) = (set.clone(), name.clone(), model.clone());
        let positions: Vec<u32> = serde_json::from_value(about["positions"].clone())?;
        cases.push(Case::new(format!("rope/{name}"), move |judge| {
            run(judge, &set.open("rope/rope.safetensors")?, &name, &model, &positions)
        }));
    }
    Ok(cases)
}

/// The configuration of a case. What it does not say is as in the published Llama 3.2 repositories.
fn config(name: &str, model: &Value) -> Outcome<ModelConfig> {
    let mut config = json!({
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_act": "silu",
        "max_position_embeddings": 131_072,
        "rms_norm_eps": 1e-5,
    });
    let given = model["config"].as_object().ok_or("rope.json: a model without `config`")?;
    for (key, value) in given {
        config[key] = value.clone();
    }
    if !given.contains_key("rope_parameters") && !given.contains_key("rope_theta") {
        config["rope_parameters"] = json!({
            "rope_type": "llama3",
            "rope_theta": 500_000.0,
            "factor": 32.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        });
    }
    Ok(ModelConfig::from_json(name, config.to_string().as_bytes())?)
}

/// Number of parameters, the tied head counted once.
fn parameters(config: &ModelConfig) -> usize {
    let size = |(n, k): (usize, usize)| n * k;
    let (d, v) = (config.hidden_size, config.vocab_size);
    let block: usize = Module::ALL.iter().map(|m| size(m.shape(config))).sum::<usize>() + 2 * d;
    let heads = if config.tie_word_embeddings { 1 } else { 2 };
    heads * v * d + config.num_hidden_layers * block + d
}

fn run(judge: &mut Judge, file: &File, name: &str, model: &Value, positions: &[u32]) -> Outcome {
    let config = config(name, model)?;
    if let Some(params) = model["params"].as_u64() {
        let error = (parameters(&config) as f64 - params as f64).abs();
        judge.compare("number of parameters", error, 0.0);
    }
    let frequencies: Vec<f64> = config.inv_freq().iter().map(|&f| f64::from(f)).collect();
    if let Some((part, want)) = stored(file, name, "inv_freq")? {
        if want.len() != frequencies.len() {
            return wrong(format!("{} frequencies, not {}", frequencies.len(), want.len()));
        }
        let errors = frequencies.iter().zip(&want).map(|(f, want)| (f / want - 1.0).abs());
        judge.compare(&part, errors.fold(0.0, worse), FREQUENCY);
    }
    let (cos, sin) = config.rope_tables(positions);
    compare_tables(judge, file, name, positions, &cos, &sin)?;
    devices::each(judge, |judge, device| {
        let (cos, sin) = rotated(device, &cos, &sin, positions.len())?;
        compare_tables(judge, file, name, positions, &cos, &sin)
    })
}

/// `<name>.<part>_f64`, else `<name>.<part>`: the f32 angles of torch have an error that fills the
/// bound.
fn stored(file: &File, name: &str, part: &str) -> Outcome<Option<(String, Vec<f64>)>> {
    let single = format!("{name}.{part}");
    let double = format!("{single}_f64");
    if file.has(&double) {
        return Ok(Some((format!("{part}_f64"), file.f64(&double)?)));
    }
    if file.has(&single) {
        let values = file.f32(&single)?.iter().map(|&v| f64::from(v)).collect();
        return Ok(Some((part.to_owned(), values)));
    }
    Ok(None)
}

fn compare_tables(
    judge: &mut Judge,
    file: &File,
    name: &str,
    positions: &[u32],
    cos: &[f32],
    sin: &[f32],
) -> Outcome {
    let half = cos.len() / positions.len().max(1);
    for (part, got) in [("cos", cos), ("sin", sin)] {
        if let Some((what, want)) = stored(file, name, part)? {
            if want.len() != got.len() {
                return wrong(format!("`{what}` has {} values, not {}", want.len(), got.len()));
            }
            // The bound grows with the position: each error is told as a share of its own.
            let share = |(i, (got, want)): (usize, (&f32, &f64))| {
                (f64::from(*got) - want).abs() / (1e-6 + 5e-8 * f64::from(positions[i / half]))
            };
            let worst = got.iter().zip(&want).enumerate().map(share).fold(0.0, worse);
            judge.compare(&format!("{what}, of 1e-6 + 5e-8·position"), worst, 1.0);
        }
    }
    Ok(())
}

/// Heads of `(1, …, 1, 0, …, 0)` turned by the shader: their halves are the cosines and the sines.
fn rotated(
    device: &Device,
    cos: &[f32],
    sin: &[f32],
    count: usize,
) -> Outcome<(Vec<f32>, Vec<f32>)> {
    let gpu = &device.gpu;
    let half = cos.len() / count;
    let table = |name: &str, values: &[f32]| gpu.upload(name, &[count, half], values);
    let (cos, sin) = (table("cos", cos)?, table("sin", sin)?);
    let ones: Vec<f32> =
        (0..count * 2 * half).map(|i| if i % (2 * half) < half { 1.0 } else { 0.0 }).collect();
    let x = gpu.upload("x", &[count, 2 * half], &ones)?;
    let rows: Vec<u32> = (0..count as u32).collect();
    let positions = gpu.upload_words("positions", &[count], &rows)?;
    let mut rec = gpu.recorder("golden");
    let (heads, inverse) = (1, false);
    rec.record(&Rope { x: &x, cos: &cos, sin: &sin, positions: &positions, heads, inverse })?;
    rec.submit()?;
    let turned = block_on(gpu.read(&x))?;
    let halves = |from: usize| {
        turned.chunks(2 * half).flat_map(move |row| row[from..from + half].to_vec()).collect()
    };
    Ok((halves(0), halves(half)))
}
