//! A checkpoint of random weights that lies nowhere: what a byte is follows from its place, so that
//! models of any shape can be measured without a file and without memory for one.

use std::ops::Range;

use serde_json::json;

use super::checkpoint::Checkpoint;
use super::hf::ModelConfig;
use super::module::Module;
use super::names::{EMBED, HEAD, NORM};
use super::safetensors::{DType, SafetensorsFile};
use super::safetensors_write::layout;
use super::source::{ByteSource, past_end};
use crate::error::Result;
use crate::quant::{NESTED_BLOCK, NF4_BLOCK, NF4_CODE, dynamic8_code};
use crate::random::{Fnv, word_at};

impl Checkpoint {
    /// Random weights of a model of this shape, the same each time. Linear layers of blocks are NF4
    /// with double quantization as bitsandbytes keeps it where `nf4`, else bf16, as embedding and
    /// head are; norms are 1.
    ///
    /// Bits are those of [`word_at`] under the tensor's name. NF4 codes and 8-bit codes of scales
    /// are taken as they come, with 2/√K ± 1/(2√K) for scales of a matrix of K columns; a bf16 has
    /// a random sign and fraction and the exponent ⌈⌊log₂ K⌋/2⌉ below 1: so an output is about as
    /// large as its input, and activations stay finite.
    ///
    /// **Errors** those of opening a file.
    pub fn random(name: &str, config: &ModelConfig, nf4: bool) -> Result<Checkpoint> {
        let source = RandomSource::new(name, tensors(config, nf4))?;
        Checkpoint::from_files(vec![SafetensorsFile::open(Box::new(source))?])
    }
}

/// What a tensor's bytes are.
enum Fill {
    /// Random bits.
    Bits,
    /// Random bf16: bits of sign and fraction, with these four exponents.
    Bf16(u64),
    /// Given ones.
    Bytes(Vec<u8>),
}

/// A tensor's name, type, shape and content.
type Random = (String, DType, Vec<usize>, Fill);

/// Sign and fraction of four bf16.
const SIGN_AND_FRACTION: u64 = 0x807f_807f_807f_807f;

fn bf16(name: String, [rows, cols]: [usize; 2]) -> Random {
    let exponent = 127 - u64::from(cols.max(1).ilog2().div_ceil(2));
    (name, DType::BF16, vec![rows, cols], Fill::Bf16((exponent << 7) * 0x0001_0001_0001_0001))
}

fn floats(values: &[f32]) -> Fill {
    Fill::Bytes(values.iter().flat_map(|v| v.to_le_bytes()).collect())
}

/// The parts of an NF4 matrix.
fn quantized(name: &str, [rows, cols]: [usize; 2]) -> [Random; 6] {
    let (n, root) = (rows * cols, (cols as f64).sqrt());
    let blocks = n.div_ceil(NF4_BLOCK);
    let nested = blocks.div_ceil(NESTED_BLOCK);
    let state = json!({
        "quant_type": "nf4", "blocksize": NF4_BLOCK, "dtype": "bfloat16", "shape": [rows, cols],
        "nested_blocksize": NESTED_BLOCK, "nested_dtype": "float32", "nested_offset": 2.0 / root,
    });
    let state = state.to_string().into_bytes();
    let part = |suffix: &str, dtype, shape: &[usize], fill| {
        (format!("{name}{suffix}"), dtype, shape.to_vec(), fill)
    };
    let scale = (0.5 / root) as f32;
    [
        part("", DType::U8, &[n.div_ceil(2), 1], Fill::Bits),
        part(".absmax", DType::U8, &[blocks], Fill::Bits),
        part(".nested_absmax", DType::F32, &[nested], floats(&vec![scale; nested])),
        part(".quant_map", DType::F32, &[16], floats(&NF4_CODE)),
        part(".nested_quant_map", DType::F32, &[256], floats(&dynamic8_code(true))),
        part(".quant_state.bitsandbytes__nf4", DType::U8, &[state.len()], Fill::Bytes(state)),
    ]
}

/// Every tensor of the model.
fn tensors(config: &ModelConfig, nf4: bool) -> Vec<Random> {
    let (d, v) = (config.hidden_size, config.vocab_size);
    let norm = |name: String| (name, DType::F32, vec![d], floats(&vec![1.0; d]));
    let mut all = vec![bf16(EMBED.into(), [v, d]), norm(NORM.into())];
    if !config.tie_word_embeddings {
        all.push(bf16(HEAD.into(), [v, d]));
    }
    for layer in 0..config.num_hidden_layers {
        for part in ["input_layernorm", "post_attention_layernorm"] {
            all.push(norm(format!("model.layers.{layer}.{part}.weight")));
        }
        for module in Module::ALL {
            let (rows, cols) = module.shape(config);
            match nf4 {
                true => all.extend(quantized(&module.weight(layer), [rows, cols])),
                false => all.push(bf16(module.weight(layer), [rows, cols])),
            }
        }
    }
    all
}

/// A stretch of bytes: where it lies, the key of its random words, and what it holds.
struct Stretch {
    place: Range<u64>,
    key: u64,
    fill: Fill,
}

impl Stretch {
    /// Bytes from byte `from` of it on.
    fn read(&self, from: u64, out: &mut [u8]) {
        if let Fill::Bytes(bytes) = &self.fill {
            let from = from as usize;
            return out.copy_from_slice(&bytes[from..from + out.len()]);
        }
        let (mut at, mut out) = (from, out);
        while !out.is_empty() {
            let word = match self.fill {
                Fill::Bf16(exponents) => word_at(self.key, at / 8) & SIGN_AND_FRACTION | exponents,
                _ => word_at(self.key, at / 8),
            };
            let bytes = &word.to_le_bytes()[(at % 8) as usize..];
            let (now, later) = out.split_at_mut(bytes.len().min(out.len()));
            now.copy_from_slice(&bytes[..now.len()]);
            (at, out) = (at + now.len() as u64, later);
        }
    }
}

/// The bytes of a safetensors file.
struct RandomSource {
    name: String,
    /// Back to back from byte 0, the header first.
    stretches: Vec<Stretch>,
}

impl RandomSource {
    fn new(name: &str, tensors: Vec<Random>) -> Result<Self> {
        let announced: Vec<_> = tensors
            .iter()
            .map(|(name, dtype, shape, _)| (name.as_str(), *dtype, &shape[..]))
            .collect();
        let (header, places) = layout(name, &announced, &[])?;
        let place = 0..header.len() as u64;
        let mut stretches = vec![Stretch { place, key: 0, fill: Fill::Bytes(header) }];
        for (name, _, _, fill) in tensors {
            let info = &places[&name];
            let place = info.offset..info.offset + info.bytes;
            stretches.push(Stretch { place, key: Fnv::of(name.as_bytes()), fill });
        }
        stretches.sort_by_key(|stretch| stretch.place.start);
        Ok(RandomSource { name: name.into(), stretches })
    }
}

impl ByteSource for RandomSource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.stretches.last().map_or(0, |last| last.place.end)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let end = offset.saturating_add(buf.len() as u64);
        if end > self.len() {
            return Err(past_end(&self.name, offset, buf.len(), self.len()));
        }
        let first = self.stretches.partition_point(|stretch| stretch.place.end <= offset);
        for stretch in self.stretches[first..].iter().take_while(|s| s.place.start < end) {
            let part = stretch.place.start.max(offset)..stretch.place.end.min(end);
            let into = (part.start - offset) as usize..(part.end - offset) as usize;
            stretch.read(part.start - stretch.place.start, &mut buf[into]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{ModelShape, read_prequantized};

    fn opened(nf4: bool) -> (ModelConfig, Checkpoint) {
        let config = ModelShape::named("tiny").unwrap().config();
        let checkpoint = Checkpoint::random("tiny", &config, nf4).unwrap();
        (config, checkpoint)
    }

    #[test]
    fn every_tensor_of_the_model_is_there_and_of_a_fair_size() {
        for nf4 in [true, false] {
            let (config, checkpoint) = opened(nf4);
            checkpoint.check_names(&config).unwrap();
            for module in Module::ALL {
                let (rows, cols) = module.shape(&config);
                let name = module.weight(1);
                let values = match read_prequantized(&checkpoint, &name).unwrap() {
                    Some(found) => found.matrix.dequantize(),
                    None => checkpoint.read_f32(&name, 0..rows * cols).unwrap(),
                };
                assert_eq!(values.len(), rows * cols);
                let squares: f32 = values.iter().map(|v| v * v).sum();
                // An output of inputs of size 1.
                let gain = (squares / rows as f32).sqrt();
                assert!((0.7..2.0).contains(&gain), "{name}: {gain}");
            }
        }
    }

    #[test]
    fn a_piece_is_the_same_as_within_the_whole() {
        let (config, checkpoint) = opened(true);
        let n = 2 * (config.vocab_size * config.hidden_size) as u64;
        let read = |range: Range<u64>| {
            let mut bytes = Vec::new();
            checkpoint.read_bytes(EMBED, range, &mut bytes).unwrap();
            bytes
        };
        let whole = read(0..n);
        for (from, to) in [(0, 1), (3, 29), (7, 8), (8, 16), (n - 5, n)] {
            assert_eq!(read(from..to), whole[from as usize..to as usize], "{from}..{to}");
        }
        assert_eq!(read(0..n), whole);
    }
}
