//! A merged model as a Hugging Face folder.

use std::path::Path;

use super::adapted::Adapted;
use crate::format::{AdapterFile, DType, ModelFiles, SafetensorsWriter, WeightFile, write_atomic};
use crate::{Error, Result};

/// Files that are copied beside the weights.
const COPIED: [&str; 11] = [
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
    "LICENSE",
    "NOTICE",
];

const INDEX: &str = "model.safetensors.index.json";

/// Bytes done, bytes in all.
pub type MergeProgress<'a> = &'a mut dyn FnMut(u64, u64);

/// Writes `W + scale·B·A` of every adapted layer, and all other tensors as they are, into a folder
/// that transformers and this crate load: the checkpoint's element types, shards and names, its
/// configuration and tokenizer. Tensors of block types in a GGUF file become F16. One tensor is in
/// memory at a time.
///
/// **Errors** [`Error::Invalid`] if the folder holds a model already or the adapter belongs to
/// another model; [`Error::Unsupported`] for a model that is stored in 4 bits; those of reading and
/// writing.
pub fn merge(
    files: &ModelFiles,
    adapter: &AdapterFile,
    out: impl AsRef<Path>,
    progress: MergeProgress<'_>,
) -> Result<()> {
    let out = out.as_ref();
    if ["config.json", "model.safetensors", INDEX].iter().any(|name| out.join(name).exists()) {
        return Err(Error::invalid(out.display(), "holds a model already; give another ‹out›"));
    }
    let adapted = Adapted::new(files, Some(adapter))?;
    std::fs::create_dir_all(out).map_err(Error::io(out))?;
    let all: u64 = weights(files).map(|(_, info)| info.bytes).sum();
    let mut done = 0;
    for file in files.checkpoint.files() {
        let name = shard_name(files, file);
        let tensors: Vec<_> = file
            .tensors()
            .iter()
            .map(|(name, info)| (name.as_str(), info.dtype, info.shape.as_slice()))
            .collect();
        let mut writer = SafetensorsWriter::create(out.join(name), &tensors, &[("format", "pt")])?;
        for (name, dtype, _) in tensors {
            let mut at = 0;
            adapted.pieces(name, |values| {
                let bytes = encode(name, dtype, values)?;
                writer.write(name, at, &bytes)?;
                at += bytes.len() as u64;
                done += bytes.len() as u64;
                progress(done, all);
                Ok(())
            })?;
        }
        writer.finish()?;
    }
    write_rest(files, out)
}

fn weights(files: &ModelFiles) -> impl Iterator<Item = (&String, &crate::format::TensorInfo)> {
    files.checkpoint.files().iter().flat_map(|file| file.tensors().iter())
}

/// The file's own name in a folder of shards.
fn shard_name(files: &ModelFiles, file: &WeightFile) -> String {
    let name = Path::new(file.name()).file_name().and_then(|name| name.to_str());
    match name {
        Some(name) if files.checkpoint.files().len() > 1 => name.to_owned(),
        _ => "model.safetensors".into(),
    }
}

/// Values in a tensor's own type, rounded to nearest even.
fn encode(name: &str, dtype: DType, values: &[f32]) -> Result<Vec<u8>> {
    Ok(match dtype {
        DType::F32 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        DType::BF16 => values.iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
        DType::F16 => {
            let mut out = Vec::with_capacity(2 * values.len());
            for v in values {
                let half = half::f16::from_f32(*v);
                if v.is_finite() && half.is_infinite() {
                    let why = format!("{v} is too large for F16, the type of this model's weights");
                    return Err(Error::invalid(format!("merged `{name}`"), why));
                }
                out.extend_from_slice(&half.to_le_bytes());
            }
            out
        }
        other => {
            return Err(Error::Unsupported {
                what: format!("tensor `{name}` of type {other} in a merge"),
                hint: "models in F32, F16 and BF16 are merged".into(),
            });
        }
    })
}

/// Configuration, tokenizer, index; the configuration last, for it makes the folder a model.
fn write_rest(files: &ModelFiles, out: &Path) -> Result<()> {
    let put = |name: &str, bytes: &[u8]| {
        let path = out.join(name);
        write_atomic(&path, |file| std::io::Write::write_all(file, bytes).map_err(Error::io(&path)))
    };
    if files.checkpoint.gguf().is_some() {
        let tokenizer = files.tokenizer()?;
        put("tokenizer.json", tokenizer.to_json()?.as_bytes())?;
        let token = |id: Option<u32>| id.and_then(|id| tokenizer.id_to_token(id));
        let config = serde_json::json!({
            "bos_token": token(tokenizer.bos_id()),
            "eos_token": token(tokenizer.eos_id()),
            "pad_token": token(tokenizer.pad_id()),
            "chat_template": tokenizer.chat_template_text(),
            "tokenizer_class": "PreTrainedTokenizerFast",
        });
        put("tokenizer_config.json", format!("{config:#}\n").as_bytes())?;
        let dtype = weights(files).map(|(_, info)| info.dtype).find(|t| *t != DType::F32);
        let config = files.config.to_json(dtype.unwrap_or(DType::F32));
        return put("config.json", config.as_bytes());
    }
    let read = |name: &str| {
        let path = files.path.join(name);
        std::fs::read(&path).map_err(Error::io(&path))
    };
    for name in COPIED {
        if files.path.join(name).is_file() {
            put(name, &read(name)?)?;
        }
    }
    if files.checkpoint.files().len() > 1 {
        put(INDEX, &read(INDEX)?)?;
    }
    put("config.json", &read("config.json")?)
}
