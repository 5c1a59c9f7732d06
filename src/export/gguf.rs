//! A model, or an adapter alone, as the GGUF file that llama.cpp reads.

use std::path::Path;

use super::adapted::{Adapted, delta};
use super::folder::MergeProgress;
use crate::format::{
    AdapterFile, DType, EMBED, Family, GgufAnnounced, GgufField, GgufType, GgufWriter, HEAD,
    ModelConfig, ModelFiles, ROPE_FACTORS, Rope, RopeScaling, gguf_name, tokenizer_fields,
};
use crate::{Error, Result};

type Fields = Vec<(String, GgufField)>;

/// `rows` rows of Hugging Face's order in GGUF's: the pair that rotates together, `i` and
/// `i + E/2`, becomes neighbours.
fn interleave(values: &[f32], rows: usize, head_dim: usize) -> Vec<f32> {
    let width = values.len() / rows.max(1);
    let mut out = Vec::with_capacity(values.len());
    for row in 0..rows {
        let (head, i) = (row / head_dim, row % head_dim);
        let from = head * head_dim + i % 2 * (head_dim / 2) + i / 2;
        out.extend_from_slice(&values[from * width..][..width]);
    }
    out
}

/// Whether a tensor's rows are in another order in GGUF.
fn permuted(config: &ModelConfig, name: &str) -> bool {
    let rotates = name.contains(".self_attn.q_proj.") || name.contains(".self_attn.k_proj.");
    config.family.gguf_permutes() && rotates
}

/// Writes a model, with an adapter merged in if one is given, as GGUF: 16-bit tensors in the
/// checkpoint's type, norms and biases in F32.
///
/// **Errors** [`Error::Unsupported`] for a model that is stored in 4 bits or a tokenizer that
/// llama.cpp has no name for; [`Error::Invalid`], [`Error::Shape`] if the adapter belongs to
/// another model; those of reading and writing.
pub fn export_gguf(
    files: &ModelFiles,
    adapter: Option<&AdapterFile>,
    out: impl AsRef<Path>,
    progress: MergeProgress<'_>,
) -> Result<()> {
    let (config, checkpoint) = (&files.config, &files.checkpoint);
    let adapted = Adapted::new(files, adapter)?;
    check_rope(config)?;
    let (embed, head) = checkpoint.embedding_and_head(config)?;
    let mut announced = Vec::new();
    let mut names = Vec::new();
    for name in adapted.names() {
        // A head that is the embedding is not written a second time.
        if name == HEAD && head.is_none() && embed != HEAD {
            continue;
        }
        let info = checkpoint.info(name)?;
        let gguf = gguf_name(if name == embed { EMBED } else { name }).ok_or_else(|| {
            let what = format!("{}: tensor `{name}` in GGUF", checkpoint.name());
            Error::Unsupported {
                what,
                hint: "the tensors of Llama's blocks have names there".into(),
            }
        })?;
        let kind = match (info.shape.len(), info.dtype) {
            (0 | 1, _) | (_, DType::F32) => GgufType::F32,
            (_, DType::BF16) => GgufType::BF16,
            _ => GgufType::F16,
        };
        announced.push(GgufAnnounced { name: gguf, kind, shape: info.shape.clone() });
        names.push(name);
    }
    let factors = rope_factors(config);
    if let Some(factors) = &factors {
        let shape = vec![factors.len()];
        announced.push(GgufAnnounced { name: ROPE_FACTORS.into(), kind: GgufType::F32, shape });
    }
    let mut fields = model_fields(files, &announced)?;
    let tokenizer = files.tokenizer()?;
    fields.extend(tokenizer_fields(&tokenizer, config.vocab_size)?);
    let others = config.eos_token_ids.iter().filter(|id| Some(**id) != tokenizer.eos_id());
    for (key, id) in ["eot", "eom"].into_iter().zip(others) {
        fields.push((format!("tokenizer.ggml.{key}_token_id"), GgufField::U32(*id)));
    }
    if let Some(template) = tokenizer.chat_template_text() {
        let template = GgufField::Text(template.to_owned());
        fields.push(("tokenizer.chat_template".into(), template));
    }
    let all: u64 = names.iter().filter_map(|n| checkpoint.info(n).ok()).map(|i| i.bytes).sum();
    let mut done = 0;
    let mut writer = GgufWriter::create(out, &fields, announced)?;
    for name in names {
        let gguf = gguf_name(if name == embed { EMBED } else { name }).unwrap_or_default();
        let info = checkpoint.info(name)?;
        if permuted(config, name) {
            let rows = info.shape.first().copied().unwrap_or(0);
            let values = interleave(&adapted.whole(name)?, rows, config.head_dim);
            writer.write(&gguf, &values)?;
        } else {
            adapted.pieces(name, |values| writer.write(&gguf, values))?;
        }
        done += info.bytes;
        progress(done, all);
    }
    if let Some(factors) = factors {
        writer.write(ROPE_FACTORS, &factors)?;
    }
    writer.finish()
}

/// Refuses rotary embeddings that the metadata written here has no words for.
fn check_rope(config: &ModelConfig) -> Result<()> {
    match &config.rope.scaling {
        RopeScaling::None | RopeScaling::Linear { .. } | RopeScaling::Llama3 { .. } => Ok(()),
        // Llama.cpp reads factors for this architecture alone.
        RopeScaling::LongRope { short_factor, long_factor, attention_factor, .. }
            if short_factor == long_factor
                && *attention_factor == 1.0
                && config.family.gguf() == Family::Llama.gguf() =>
        {
            Ok(())
        }
        other => Err(Error::Unsupported {
            what: format!("{other:?} in GGUF"),
            hint: "rope types default, linear and llama3 are written; merge gives a folder".into(),
        }),
    }
}

/// By what the frequencies are divided, where each has its own divisor.
fn rope_factors(config: &ModelConfig) -> Option<Vec<f32>> {
    let (RopeScaling::Llama3 { .. } | RopeScaling::LongRope { .. }) = config.rope.scaling else {
        return None;
    };
    let plain = Rope { scaling: RopeScaling::None, theta: config.rope.theta };
    let plain = plain.frequencies(config.head_dim);
    let scaled = config.rope.frequencies(config.head_dim);
    Some(plain.iter().zip(&scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect())
}

fn model_fields(files: &ModelFiles, tensors: &[GgufAnnounced]) -> Result<Fields> {
    let (config, mut fields) = (&files.config, Fields::new());
    let arch = config.family.gguf();
    let width = config.num_attention_heads * config.head_dim;
    if arch == Family::Qwen2.gguf() && width != config.hidden_size {
        let what = format!(
            "{} heads of {} over {} in a Qwen2 of GGUF",
            config.num_attention_heads, config.head_dim, config.hidden_size
        );
        return Err(Error::Unsupported { what, hint: "llama.cpp wants heads that fill it".into() });
    }
    let text = |s: &str| GgufField::Text(s.to_owned());
    let number = |n: usize| {
        let n = u32::try_from(n).map_err(|_| Error::invalid("size", format!("{n} is too large")));
        n.map(GgufField::U32)
    };
    fields.push(("general.architecture".into(), text(arch)));
    fields.push(("general.type".into(), text("model")));
    fields.push(("general.name".into(), text(&model_name(files))));
    // What most weights are: 0 F32, 1 F16, 32 BF16.
    let kind = |kind| tensors.iter().any(|t: &GgufAnnounced| t.kind == kind);
    let file_type = if kind(GgufType::BF16) { 32 } else { u32::from(kind(GgufType::F16)) };
    fields.push(("general.file_type".into(), GgufField::U32(file_type)));
    fields.push(("general.quantization_version".into(), GgufField::U32(2)));
    let mut put = |key: &str, field| fields.push((format!("{arch}.{key}"), field));
    put("vocab_size", number(config.vocab_size)?);
    put("context_length", number(config.max_position_embeddings)?);
    put("embedding_length", number(config.hidden_size)?);
    put("block_count", number(config.num_hidden_layers)?);
    put("feed_forward_length", number(config.intermediate_size)?);
    put("attention.head_count", number(config.num_attention_heads)?);
    put("attention.head_count_kv", number(config.num_key_value_heads)?);
    put("attention.key_length", number(config.head_dim)?);
    put("attention.value_length", number(config.head_dim)?);
    put("attention.layer_norm_rms_epsilon", GgufField::F32(config.rms_norm_eps));
    put("rope.dimension_count", number(config.head_dim)?);
    put("rope.freq_base", GgufField::F32(config.rope.theta as f32));
    if let RopeScaling::Linear { factor } = config.rope.scaling {
        put("rope.scaling.type", text("linear"));
        put("rope.scaling.factor", GgufField::F32(factor as f32));
    }
    if let Some(window) = config.sliding_window {
        put("attention.sliding_window", number(window)?);
    }
    Ok(fields)
}

fn model_name(files: &ModelFiles) -> String {
    let name = files.path.canonicalize().unwrap_or_else(|_| files.path.clone());
    name.file_stem().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned())
}

/// Writes an adapter alone as the GGUF that llama.cpp takes beside a model (its option `lora`), in
/// F32.
///
/// llama.cpp scales by `alpha/R` with one alpha for all layers: what rsLoRA and patterns make of it
/// goes into that alpha where all layers agree, and otherwise into B.
///
/// **Errors** [`Error::Unsupported`] for DoRA, whose magnitudes it has no place for;
/// [`Error::Invalid`], [`Error::Shape`] if the adapter belongs to another model.
pub fn export_lora_gguf(
    files: &ModelFiles,
    adapter: &AdapterFile,
    out: impl AsRef<Path>,
) -> Result<()> {
    let config = &files.config;
    if adapter.config.use_dora {
        return Err(Error::Unsupported {
            what: "a DoRA adapter in a GGUF file of its own".into(),
            hint: "llama.cpp has no magnitudes; export it merged, without ‹lora_only›".into(),
        });
    }
    if let Some((key, _)) = adapter.biases().next() {
        return Err(Error::Unsupported {
            what: format!("an adapter with biases (`{key}`) in a GGUF file of its own"),
            hint: "llama.cpp has no place for them; export it merged, without ‹lora_only›".into(),
        });
    }
    Adapted::new(files, Some(adapter))?;
    let modules = adapter.modules();
    let product =
        |module: &str| adapter.config.scaling_of(module) * adapter.config.rank_of(module) as f64;
    // It takes 0 for no scale at all.
    let alpha = modules.iter().map(|module| product(module)).find(|alpha| *alpha != 0.0);
    let alpha = alpha.unwrap_or(1.0) as f32;
    let text = |s: &str| GgufField::Text(s.to_owned());
    let base = adapter.config.base_model_name_or_path.clone().unwrap_or_else(|| model_name(files));
    let fields = vec![
        ("general.architecture".into(), text(config.family.gguf())),
        ("general.type".into(), text("adapter")),
        ("general.name".into(), text(&format!("LoRA of {base}"))),
        ("general.file_type".into(), GgufField::U32(0)),
        ("adapter.type".into(), text("lora")),
        ("adapter.lora.alpha".into(), GgufField::F32(alpha)),
    ];
    let mut announced = Vec::new();
    let mut values = Vec::new();
    for module in modules {
        let weight = format!("{module}.weight");
        let gguf = gguf_name(&weight).unwrap_or_default();
        let Some(delta) = delta(adapter, module) else { continue };
        let rank = adapter.config.rank_of(module);
        let (inp, rows) = (delta.a.len() / rank, delta.b.len() / rank);
        let factor = (product(module) / f64::from(alpha)) as f32;
        let mut b = match permuted(config, &weight) {
            true => interleave(delta.b, rows, config.head_dim),
            false => delta.b.to_vec(),
        };
        if (factor - 1.0).abs() > 1e-6 {
            b.iter_mut().for_each(|v| *v *= factor);
        }
        for (part, shape, data) in
            [("lora_a", vec![rank, inp], delta.a.to_vec()), ("lora_b", vec![rows, rank], b)]
        {
            let name = format!("{gguf}.{part}");
            announced.push(GgufAnnounced { name: name.clone(), kind: GgufType::F32, shape });
            values.push((name, data));
        }
    }
    let mut writer = GgufWriter::create(out, &fields, announced)?;
    for (name, data) in values {
        writer.write(&name, &data)?;
    }
    writer.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_interleaved_within_their_head() {
        let rows: Vec<f32> = (0..8).flat_map(|row| [row as f32, 0.5]).collect();
        let order: Vec<f32> = interleave(&rows, 8, 4).into_iter().step_by(2).collect();
        assert_eq!(order, [0.0, 2.0, 1.0, 3.0, 4.0, 6.0, 5.0, 7.0]);
    }
}
