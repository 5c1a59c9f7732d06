//! GGUF files of the embedded model with something more in them: used as llama.cpp uses it, or
//! refused by name. The values are llama.cpp's for the same files.

use std::path::{Path, PathBuf};

use wgpu_lora::Result;
use wgpu_lora::export::export_gguf;
use wgpu_lora::format::{GgufField, ModelFiles};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::{LoadOptions, Model, Pass, Quant};

use super::setup::*;

#[path = "../common/gguf.rs"]
mod draft;

use draft::Draft;

/// Rows of q of a block, and of k and v.
const Q: usize = 192;
const K: usize = 64;

fn embedded(folder: &Path) -> Draft {
    let out = folder.join("embedded.gguf");
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/model");
    export_gguf(&ModelFiles::open(model).unwrap(), None, &out, &mut |_, _| {}).unwrap();
    Draft::of(&out)
}

/// The likeliest token behind "item 3 costs $", and its logit.
fn best(gpu: &Gpu, path: &Path) -> Result<(usize, f32)> {
    let files = ModelFiles::open(path)?;
    let options = LoadOptions { quant: Quant::None, max_positions: 64 };
    let (checkpoint, config) = (&files.checkpoint, &files.config);
    let model = block_on(Model::load(gpu, checkpoint, config, options, &mut |_, _| {}))?;
    let ids = [2045, 489, 76, 220, 18, 454, 82, 289];
    let pass = Pass { batch: 1, queries: ids.len(), targets: 1 };
    let space = model.workspace(pass, None)?;
    let logits = block_on(model.logits(&space, &ids, 1, &[ids.len() as u32 - 1]))?;
    let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
    Ok((best, logits[best]))
}

#[test]
fn what_llama_cpp_reads_is_used() {
    let (gpu, folder) = (gpu(), tempfile::tempdir().unwrap());
    let plain = embedded(folder.path());
    let path = folder.path().join("model.gguf");
    let text = |s: &str| GgufField::Text(s.into());
    let two = || GgufField::F32(2.0);
    let biased = |name: &str, rows: usize, value: f32| {
        let add = |draft: Draft, layer: usize| {
            draft.add(&format!("blk.{layer}.{name}.bias"), &[rows], value)
        };
        (0..6).fold(plain.clone(), add)
    };
    let yarn = |factor: f32, original: u32| {
        let draft = plain
            .clone()
            .set("llama.rope.scaling.type", text("yarn"))
            .set("llama.rope.scaling.factor", GgufField::F32(factor));
        match original {
            0 => draft,
            n => draft.set("llama.rope.scaling.original_context_length", GgufField::U32(n)),
        }
    };
    let cases: [(&str, Draft, usize, f32); 15] = [
        ("as it is", plain.clone(), 15, 3.6037),
        ("biases of q", biased("attn_q", Q, 1.0), 15, 3.2539),
        ("biases of zero", biased("attn_k", K, 0.0), 15, 3.6037),
        (
            "a factor without a type",
            plain.clone().set("llama.rope.scaling.factor", two()),
            25,
            4.5079,
        ),
        ("the old key", plain.clone().set("llama.rope.scale_linear", two()), 25, 4.5079),
        (
            "the new key wins",
            plain
                .clone()
                .set("llama.rope.scaling.factor", two())
                .set("llama.rope.scale_linear", GgufField::F32(8.0)),
            25,
            4.5079,
        ),
        (
            "a factor that is switched off",
            plain
                .clone()
                .set("llama.rope.scaling.type", text("none"))
                .set("llama.rope.scaling.factor", two()),
            15,
            3.6037,
        ),
        (
            "a factor of zero",
            plain.clone().set("llama.rope.scaling.factor", GgufField::F32(0.0)),
            15,
            3.6037,
        ),
        ("a list of factors", plain.clone().add("rope_freqs.weight", &[16], 2.0), 25, 4.5079),
        (
            "a factor over the list",
            plain
                .clone()
                .add("rope_freqs.weight", &[16], 1.0)
                .set("llama.rope.scaling.factor", two()),
            25,
            4.5079,
        ),
        ("yarn", yarn(2.0, 0), 15, 3.3160),
        ("yarn of a shorter context", yarn(4.0, 64), 1445, 4.3092),
        ("yarn that slows nothing", yarn(0.5, 64), 16, 4.0507),
        (
            "no window",
            plain.clone().set("llama.attention.sliding_window", GgufField::U32(4)),
            15,
            3.6037,
        ),
        ("keys of others", plain.clone().set("llama.logit_scale", two()), 15, 3.6037),
    ];
    for (what, draft, token, logit) in cases {
        draft.write(&path);
        let (best, value) = best(&gpu, &path).unwrap();
        assert!(best == token && (value - logit).abs() < 2e-3, "{what}: {best}, {value}");
    }
    let n = plain.tensors.len();
    let parts = plain.write_parts(&folder.path().join("parts"), &[0..0, 0..7, 7..n]);
    let (best, value) = best(&gpu, &parts[0]).unwrap();
    assert!(best == 15 && (value - 3.6037).abs() < 2e-3, "in parts: {best}, {value}");
}

#[test]
fn what_llama_cpp_reads_and_we_do_not_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let plain = embedded(folder.path());
    let path: PathBuf = folder.path().join("model.gguf");
    let refused = |draft: Draft, word: &str| {
        draft.write(&path);
        let error = ModelFiles::open(&path).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    };
    for (name, shape) in [
        ("blk.0.attn_output.bias", Q),
        ("blk.1.ffn_up.bias", 512),
        ("blk.2.attn_q_norm.weight", 32),
        ("blk.3.attn_q.scale", 1),
        ("blk.0.ffn_gate_inp.weight", Q),
        ("blk.6.attn_norm.weight", Q),
        ("output.bias", 2048),
        ("cls.weight", Q),
    ] {
        refused(plain.clone().add(name, &[shape], 1.0), &format!("`{name}`"));
    }
    let number = GgufField::U32;
    let float = GgufField::F32;
    for (key, value) in [
        ("llama.expert_count", number(8)),
        ("llama.nextn_predict_layers", number(1)),
        ("llama.rope.scaling.attn_factor", float(0.5)),
        ("llama.attention.causal", GgufField::Bool(false)),
        ("llama.attention.value_length", number(16)),
    ] {
        refused(plain.clone().set(key, value), key);
    }
    let typed = |draft: Draft, kind: &str| {
        draft.set("llama.rope.scaling.type", GgufField::Text(kind.into()))
    };
    refused(typed(plain.clone(), "longrope"), "longrope");
    refused(typed(plain.clone().add("rope_freqs.weight", &[16], 1.0), "yarn"), "rope_freqs.weight");
    refused(plain.clone().add("rope_freqs.weight", &[15], 1.0), "half a head");
}
