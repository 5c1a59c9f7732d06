//! adapters: logits with the adapter beside the model, merged into it, written and read again, and
//! after its scale was changed and set back. Within 2e-4 of PEFT's: both compute in f32, in other
//! orders.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use half::{bf16, f16};
use pollster::block_on;
use serde_json::{Value, json};
use wgpu_lora::export;
use wgpu_lora::format::{AdapterFile, DType, ModelFiles, TensorData, write_safetensors};
use wgpu_lora::model::{Model, Module, adapter_notes};

use super::case::{Case, Verdict};
use super::model;

const LARGEST: f64 = 2e-4;
const VOCABULARY: usize = 64;

/// `base` of kinds/adapters.py: the folder of a tiny model.
fn write_base(folder: &Path, family: &str, tied: bool) -> Result<(), String> {
    let kind = match family {
        "llama" => "LlamaForCausalLM",
        "mistral" => "MistralForCausalLM",
        _ => "Qwen2ForCausalLM",
    };
    let config = json!({
        "architectures": [kind], "model_type": family, "vocab_size": VOCABULARY, "hidden_size": 32,
        "intermediate_size": 48, "num_hidden_layers": 3, "num_attention_heads": 2,
        "num_key_value_heads": 1, "max_position_embeddings": 64, "rms_norm_eps": 1e-5,
        "rope_theta": 10000.0, "tie_word_embeddings": tied, "hidden_act": "silu",
    });
    std::fs::write(folder.join("config.json"), config.to_string()).map_err(|e| e.to_string())?;
    let mut shapes = BTreeMap::new();
    shapes.insert("model.embed_tokens.weight".to_owned(), vec![VOCABULARY, 32]);
    shapes.insert("model.norm.weight".to_owned(), vec![32]);
    if !tied {
        shapes.insert("lm_head.weight".to_owned(), vec![VOCABULARY, 32]);
    }
    for layer in 0..3 {
        for norm in ["input_layernorm", "post_attention_layernorm"] {
            shapes.insert(format!("model.layers.{layer}.{norm}.weight"), vec![32]);
        }
        for module in Module::ALL {
            let (out, inp) = match module {
                Module::Q | Module::O => (32, 32),
                Module::K | Module::V => (16, 32),
                Module::Gate | Module::Up => (48, 32),
                Module::Down => (32, 48),
            };
            shapes.insert(format!("{}.weight", module.path(layer)), vec![out, inp]);
            if family == "qwen2" && (module as u32) < 3 {
                shapes.insert(format!("{}.bias", module.path(layer)), vec![out]);
            }
        }
    }
    model::write_weights(folder, &json!({"seed": 1, "dtype": "F32", "tensors": shapes}))
}

/// `scaled` of kinds/adapters.py: the adapter's tensors, which a case lists under the names that
/// some version or tool writes.
fn write_adapter(case: &Case) -> Result<(), String> {
    let tensors = case.input["tensors"].as_object().ok_or("no tensors")?;
    let seed = case.input["seed"].as_u64().ok_or("no seed")?;
    let mut all = Vec::new();
    for (name, about) in tensors {
        let shape: Vec<usize> =
            serde_json::from_value(about[0].clone()).map_err(|e| e.to_string())?;
        let base = if shape.len() == 1 { 1.0 } else { 0.0 };
        let values = model::values(seed, name, &shape).into_iter().map(|v| 0.25 * v + base);
        let (dtype, bytes): (_, Vec<u8>) = match about[1].as_str() {
            Some("F16") => {
                (DType::F16, values.flat_map(|v| f16::from_f32(v).to_le_bytes()).collect())
            }
            Some("BF16") => {
                (DType::BF16, values.flat_map(|v| bf16::from_f32(v).to_le_bytes()).collect())
            }
            _ => (DType::F32, values.flat_map(f32::to_le_bytes).collect()),
        };
        all.push((name, shape, dtype, bytes));
    }
    let data: Vec<TensorData> = all
        .iter()
        .map(|(name, shape, dtype, bytes)| TensorData { name, dtype: *dtype, shape, bytes })
        .collect();
    write_safetensors(case.path("adapter/adapter_model.safetensors"), &data, &[])
        .map_err(|e| e.to_string())
}

/// A base model: its folder, and itself on the device.
type Base = (tempfile::TempDir, Model);

thread_local! {
    static BASES: RefCell<BTreeMap<(String, bool), Base>> = const { RefCell::new(BTreeMap::new()) };
}

/// Judges one case.
pub fn judge(case: &Case) -> Verdict {
    BASES.with_borrow_mut(|bases| compare(bases, case).unwrap_or_else(Verdict::Disagreed))
}

/// A refusal, without names of layers.
fn refused(case: &Case, error: &wgpu_lora::Error) -> Verdict {
    let text = error.to_string();
    let parts = text.split('`').map(|part| if part.contains("layers.") { "…" } else { part });
    case.refused(&parts.collect::<Vec<_>>().join("`"))
}

fn compare(bases: &mut BTreeMap<(String, bool), Base>, case: &Case) -> Result<Verdict, String> {
    let text = |e: wgpu_lora::Error| e.to_string();
    let family = case.input["family"].as_str().ok_or("no family")?.to_owned();
    let key = (family, case.input["tied"] == Value::Bool(true));
    if !bases.contains_key(&key) {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        write_base(folder.path(), &key.0, key.1)?;
        let model = model::open(folder.path(), 16).map_err(text)?;
        bases.insert(key.clone(), (folder, model));
    }
    let (folder, base) = bases.get_mut(&key).ok_or("no model")?;
    write_adapter(case)?;
    let ids: Vec<u32> =
        serde_json::from_value(case.input["ids"].clone()).map_err(|e| e.to_string())?;
    let want: Vec<f64> =
        serde_json::from_value(case.expect["logits"].clone()).map_err(|e| e.to_string())?;
    let same = |what: &str, model: &Model| {
        let got = model::logits(model, &ids).map_err(text)?;
        let last = &got[got.len().saturating_sub(want.len())..];
        let off = last.iter().zip(&want).map(|(a, b)| (f64::from(*a) - b).abs());
        let off = off.fold(0.0, f64::max);
        match last.len() == want.len() && off <= LARGEST {
            true => Ok(()),
            false => Err(format!("{what}: logits are {off:.6} away")),
        }
    };
    let file = match AdapterFile::load(case.path("adapter")) {
        Ok(file) => file,
        Err(error) => return Ok(refused(case, &error)),
    };
    if let Err(error) = block_on(base.add_adapter("it", &file)) {
        return Ok(refused(case, &error));
    }
    let notes = adapter_notes(&file.config, Some(&file), base.config());
    if let Some(note) = notes.iter().find(|note| note.contains('\n')) {
        return Err(format!("a note of two lines: {note:?}"));
    }
    same("beside the model", base)?;
    for factor in [0.25, 1.0] {
        block_on(base.set_adapter_scale("it", factor)).map_err(text)?;
    }
    same("scaled and back", base)?;
    base.remove_adapter("it");
    let (config, weights) = file.to_bytes().map_err(text)?;
    let again = AdapterFile::from_bytes("again", &config, weights).map_err(text)?;
    block_on(base.add_adapter("again", &again)).map_err(text)?;
    same("written and read", base)?;
    base.remove_adapter("again");
    let files = ModelFiles::open(folder.path()).map_err(text)?;
    let merged = case.path("merged");
    export::merge(&files, &file, &merged, &mut |_, _| {}).map_err(text)?;
    same("merged", &model::open(&merged, 16).map_err(text)?)?;
    Ok(Verdict::Agreed)
}
