//! A GGUF's tensors as a Hugging Face checkpoint has them: its names, its row order, one of its
//! element types.

use std::collections::BTreeMap;
use std::ops::Range;

use half::{bf16, f16};

use super::blocks::GgufType;
use super::config::{ROPE_FACTORS, architecture};
use super::file::GgufFile;
use super::table::GgufTensor;
use crate::error::{Error, Result};
use crate::format::family::Family;
use crate::format::safetensors::{DType, TensorInfo};

/// Parts of a block: GGUF's name, Hugging Face's.
pub(super) const PARTS: [(&str, &str); 9] = [
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
    ("attn_norm", "input_layernorm"),
    ("ffn_norm", "post_attention_layernorm"),
];

/// Tensors outside of blocks.
pub(super) const WHOLE: [(&str, &str); 3] = [
    ("token_embd.weight", "model.embed_tokens.weight"),
    ("output_norm.weight", "model.norm.weight"),
    ("output.weight", "lm_head.weight"),
];

/// Hugging Face's name of a tensor, or `None` if it has none.
pub(super) fn hf_name(name: &str, layers: usize) -> Option<String> {
    if let Some((_, hf)) = WHOLE.iter().find(|(gguf, _)| *gguf == name) {
        return Some((*hf).to_owned());
    }
    let mut parts = name.strip_prefix("blk.")?.split('.');
    let (layer, part, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let layer = layer.parse::<usize>().ok().filter(|n| *n < layers && layer == n.to_string())?;
    let (_, hf) = PARTS.iter().find(|(gguf, _)| *gguf == part)?;
    let biased = ["attn_q", "attn_k", "attn_v"].contains(&part);
    let known = kind == "weight" || kind == "bias" && biased;
    (known && parts.next().is_none()).then(|| format!("model.layers.{layer}.{hf}.{kind}"))
}

/// GGUF's name of a Hugging Face tensor, or `None` if it has none.
pub(crate) fn gguf_name(hf: &str) -> Option<String> {
    if let Some((gguf, _)) = WHOLE.iter().find(|(_, name)| *name == hf) {
        return Some((*gguf).to_owned());
    }
    let (layer, rest) = hf.strip_prefix("model.layers.")?.split_once('.')?;
    let (path, kind) = rest.rsplit_once('.')?;
    let (gguf, _) = PARTS.iter().find(|(_, name)| *name == path)?;
    Some(format!("blk.{layer}.{gguf}.{kind}"))
}

/// Row of GGUF's order that holds row `row` of Hugging Face's, in a head of `head_dim` rows:
/// Llama's q and k are kept so that the pair that rotates together, `i` and `i + E/2`, lies at `2i`
/// and `2i + 1`.
pub(super) fn interleaved(row: usize, head_dim: usize) -> usize {
    let (head, i) = (row / head_dim, row % head_dim);
    let (half, pair) = (i / (head_dim / 2), i % (head_dim / 2));
    head * head_dim + 2 * pair + half
}

struct Entry {
    /// GGUF's name; none for a bias that the file leaves out, which is zeros.
    gguf: Option<String>,
    /// Rows of a head, where their order differs.
    head_dim: Option<usize>,
}

/// The tensors of a GGUF file under Hugging Face's names.
pub struct GgufWeights {
    file: GgufFile,
    tensors: BTreeMap<String, TensorInfo>,
    entries: BTreeMap<String, Entry>,
}

impl GgufWeights {
    /// Maps the names of a file.
    ///
    /// **Errors** those of [`GgufFile::config`]; [`Error::Unsupported`] for a tensor that is no
    /// part of such a model.
    pub fn new(file: GgufFile) -> Result<Self> {
        let config = file.config()?;
        let permuted = architecture(&file)? == Family::Llama.gguf();
        let (mut tensors, mut entries) = (BTreeMap::new(), BTreeMap::new());
        for (name, tensor) in file.tensors() {
            if name == ROPE_FACTORS && permuted {
                continue;
            }
            let hf = hf_name(name, config.num_hidden_layers).ok_or_else(|| {
                let hint = "a model has the weights of Llama's blocks, and biases of q, k and v; nothing else is used";
                file.unsupported(format!("tensor `{name}`"), hint)
            })?;
            let rotates = name.contains(".attn_q.") || name.contains(".attn_k.");
            let head_dim = (permuted && rotates).then_some(config.head_dim);
            let rows = tensor.shape.first().copied().unwrap_or(0);
            let whole = tensor.shape.len() == 2 || tensor.kind.block() == 1;
            if head_dim.is_some_and(|e| !rows.is_multiple_of(e) || !whole) {
                let why = format!("its {rows} rows are not whole heads of {}", config.head_dim);
                return Err(Error::format(file.name(), format!("tensor `{name}`"), why));
            }
            let dtype = match tensor.kind {
                GgufType::F32 => DType::F32,
                GgufType::BF16 => DType::BF16,
                // Of 16 bits, those of f16 are nearest to a small integer times an f16 scale.
                _ => DType::F16,
            };
            let elements: usize = tensor.shape.iter().product();
            let info = TensorInfo {
                dtype,
                shape: tensor.shape.clone(),
                offset: tensor.offset,
                bytes: elements as u64 * dtype.bytes() as u64,
            };
            tensors.insert(hf.clone(), info);
            entries.insert(hf, Entry { gguf: Some(name.clone()), head_dim });
        }
        if config.family.qkv_bias() {
            // A bias that the file leaves out is zeros.
            let biased = ["q_proj.weight", "k_proj.weight", "v_proj.weight"];
            let zeros = |(name, info): (&String, &TensorInfo)| {
                let part = biased.iter().find_map(|end| name.strip_suffix(end).map(|at| (at, end)));
                let (at, end) = part?;
                let rows = info.shape.first().copied().unwrap_or(0);
                let zeros = TensorInfo {
                    dtype: DType::F32,
                    shape: vec![rows],
                    offset: 0,
                    bytes: 4 * rows as u64,
                };
                Some((format!("{at}{}", end.replace("weight", "bias")), zeros))
            };
            for (name, zeros) in tensors.iter().filter_map(zeros).collect::<Vec<_>>() {
                entries.entry(name.clone()).or_insert(Entry { gguf: None, head_dim: None });
                tensors.entry(name).or_insert(zeros);
            }
        }
        Ok(Self { file, tensors, entries })
    }

    /// The file.
    pub fn file(&self) -> &GgufFile {
        &self.file
    }

    /// All tensors by Hugging Face's name; block types are presented as F16.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.tensors
    }

    /// Where a tensor is, and what it is in the file; nothing for a bias of zeros.
    fn entry(&self, name: &str) -> Result<(&Entry, Option<&GgufTensor>)> {
        let entry = self.entries.get(name).ok_or_else(|| Error::MissingTensor {
            name: name.into(),
            file: self.file.name().into(),
            hint: String::new(),
        })?;
        Ok((entry, entry.gguf.as_ref().and_then(|gguf| self.file.tensors().get(gguf))))
    }

    /// Some elements as `f32`, exactly as the blocks say; `0..elements` for all. Reads whole rows,
    /// or whole heads where their rows are in another order.
    ///
    /// **Errors** [`Error::MissingTensor`], [`Error::Invalid`] for a range outside the tensor, or
    /// those of the source.
    pub fn read_f32(&self, name: &str, range: Range<usize>) -> Result<Vec<f32>> {
        let (entry, tensor) = self.entry(name)?;
        let elements = self.tensors.get(name).map_or(0, TensorInfo::elements);
        if range.start > range.end || range.end > elements {
            return Err(Error::invalid(
                format!(
                    "elements {}..{} of `{name}` in {}",
                    range.start,
                    range.end,
                    self.file.name()
                ),
                format!("the tensor has {elements}"),
            ));
        }
        let Some(tensor) = tensor else { return Ok(vec![0.0; range.len()]) };
        let row = tensor.shape.last().copied().unwrap_or(1);
        // A vector of q's bias is a column of rows of one element.
        let row = if tensor.shape.len() == 1 && entry.head_dim.is_some() { 1 } else { row };
        let group = row * entry.head_dim.unwrap_or(1);
        let group = if row == 1 { group } else { group.max(tensor.kind.block()) };
        let first = range.start / group * group;
        let last = range.end.div_ceil(group) * group;
        let bytes_of = |n: usize| (n / tensor.kind.block() * tensor.kind.block_bytes()) as u64;
        let mut raw = vec![0; bytes_of(last - first) as usize];
        self.file.read_at(tensor, bytes_of(first), &mut raw)?;
        let mut values = Vec::new();
        tensor.kind.dequantize(&raw, &mut values);
        drop(raw);
        let skip = range.start - first;
        let Some(head_dim) = entry.head_dim else {
            values.truncate(skip + range.len());
            values.drain(..skip);
            return Ok(values);
        };
        let mut out = Vec::with_capacity(range.len());
        let mut at = skip;
        while out.len() < range.len() {
            let from = interleaved(at / row, head_dim) * row + at % row;
            let n = (row - at % row).min(range.len() - out.len());
            out.extend_from_slice(&values[from..from + n]);
            at += n;
        }
        Ok(out)
    }

    /// Replaces the content of `out` with some bytes of a tensor in the type that
    /// [`GgufWeights::tensors`] says.
    ///
    /// **Errors** as [`GgufWeights::read_f32`], and [`Error::Format`] for a value that is too large
    /// for F16.
    pub fn read_bytes(&self, name: &str, range: Range<u64>, out: &mut Vec<u8>) -> Result<()> {
        let (entry, tensor) = self.entry(name)?;
        let dtype = self.tensors.get(name).map_or(DType::F32, |info| info.dtype);
        let (size, total) = (dtype.bytes() as u64, self.tensors.get(name).map_or(0, |i| i.bytes));
        if range.start > range.end || range.end > total {
            return Err(Error::invalid(
                format!("bytes {}..{} of `{name}` in {}", range.start, range.end, self.file.name()),
                format!("the tensor has {total}"),
            ));
        }
        out.clear();
        let stored = |tensor: &&GgufTensor| tensor.kind.block() == 1 && entry.head_dim.is_none();
        if let Some(tensor) = tensor.filter(stored) {
            out.resize((range.end - range.start) as usize, 0);
            return self.file.read_at(tensor, range.start, out);
        }
        let (first, last) = (range.start / size, range.end.div_ceil(size));
        let values = self.read_f32(name, first as usize..last as usize)?;
        match dtype {
            DType::F32 => out.extend(values.iter().flat_map(|v| v.to_le_bytes())),
            DType::BF16 => out.extend(values.iter().flat_map(|v| bf16::from_f32(*v).to_le_bytes())),
            _ => {
                for v in &values {
                    let half = f16::from_f32(*v);
                    if v.is_finite() && half.is_infinite() {
                        let at = format!("tensor `{name}`");
                        return Err(Error::format(
                            self.file.name(),
                            at,
                            format!("{v} is too large for 16 bits; load it with ‹quant = nf4›"),
                        ));
                    }
                    out.extend_from_slice(&half.to_le_bytes());
                }
            }
        }
        out.truncate((range.end - first * size) as usize);
        out.drain(..(range.start - first * size) as usize);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_translate_both_ways() {
        for (gguf, hf) in [
            ("blk.7.attn_k.weight", "model.layers.7.self_attn.k_proj.weight"),
            ("blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias"),
            ("blk.12.ffn_norm.weight", "model.layers.12.post_attention_layernorm.weight"),
            ("output.weight", "lm_head.weight"),
        ] {
            assert_eq!(hf_name(gguf, 13).as_deref(), Some(hf));
            assert_eq!(gguf_name(hf).as_deref(), Some(gguf));
        }
        for other in [
            "blk.x.attn_q.weight",
            "blk.13.attn_q.weight",
            "blk.01.attn_q.weight",
            "blk.0.ffn_gate_exps.weight",
            "blk.0.ffn_up.bias",
            "blk.0.attn_output.bias",
            "blk.0.attn_q_norm.weight",
            "output.bias",
            "a",
        ] {
            assert_eq!(hf_name(other, 13), None);
        }
    }

    #[test]
    fn pairs_that_rotate_together_are_neighbours() {
        let from: Vec<_> = (0..8).map(|row| interleaved(row, 4)).collect();
        assert_eq!(from, [0, 2, 1, 3, 4, 6, 5, 7]);
    }
}
