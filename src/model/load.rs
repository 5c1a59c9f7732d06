//! Weights from a checkpoint to the device, in pieces: the host never holds the model.

use std::collections::BTreeMap;

use super::llama::Model;
use super::plan::{Device, MemoryPlan};
use super::precision::Precision;
use super::stats::STATS;
use super::weight_plan::{self, Bank, Room};
use super::weights::{Layer, LoadOptions, Quant, Shard};
use crate::Result;
use crate::format::Module;
use crate::format::{Checkpoint, ModelConfig, NORM, check_window, read_nf4, read_prequantized};
use crate::gpu::{Elem, Gpu, Tensor};
use crate::kernels::{Dense, Matrix, Nf4Words, words_of};
use crate::quant::{Nf4Matrix, Nf4Scales, dynamic8_code};
use crate::random::Fingerprint;

/// Bytes done, bytes in all.
pub type Progress<'a> = &'a mut dyn FnMut(u64, u64);

impl Model {
    /// Loads a checkpoint to the device, tensor by tensor; `progress` is told bytes done and in
    /// all.
    ///
    /// **Errors** [`MissingTensor`](crate::Error::MissingTensor), [`Shape`](crate::Error::Shape),
    /// [`Format`](crate::Error::Format), [`Unsupported`](crate::Error::Unsupported) for the
    /// checkpoint; [`OutOfMemory`](crate::Error::OutOfMemory) before anything is allocated if it
    /// cannot fit.
    pub async fn load(
        gpu: &Gpu,
        checkpoint: &Checkpoint,
        config: &ModelConfig,
        options: LoadOptions,
        progress: Progress<'_>,
    ) -> Result<Model> {
        config.validate()?;
        check_window(config.sliding_window, options.max_positions)?;
        config.rope.check_length(options.max_positions)?;
        checkpoint.check_names(config)?;
        let (d, v) = (config.hidden_size, config.vocab_size);
        let weights = MemoryPlan::weights(config, Some(checkpoint), options)?;
        gpu.check_memory("the model's weights", weights.total())?;
        let total = checkpoint
            .names()
            .filter(|n| n.ends_with(".weight"))
            .filter_map(|n| checkpoint.info(n).ok().map(|i| i.bytes))
            .sum::<u64>();
        let mut loader = Loader {
            gpu,
            table: gpu.table("scale values", &dynamic8_code(true))?,
            checkpoint,
            config,
            quant: options.quant,
            progress,
            done: 0,
            total,
            fingerprint: Fingerprint::default(),
        };
        let (embed, head) = checkpoint.embedding_and_head(config)?;
        let embed = loader.dense_shards(embed, v, d)?;
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for layer in 0..config.num_hidden_layers {
            layers.push(loader.layer(layer)?);
            #[cfg(target_arch = "wasm32")]
            gpu.settle("loading").await?;
        }
        let norm = loader.vector(NORM, d)?;
        let head = head.map(|head| loader.dense_shards(head, v, d)).transpose()?;
        let fingerprint = loader.fingerprint;
        gpu.flush("loading")?;
        let positions: Vec<u32> = (0..options.max_positions as u32).collect();
        let (cos, sin) = config.rope_tables(&positions);
        let dims = [options.max_positions, config.head_dim / 2];
        let rope = (gpu.upload("cos", &dims, &cos)?, gpu.upload("sin", &dims, &sin)?);
        Ok(Model {
            gpu: gpu.clone(),
            config: config.clone(),
            embed,
            head,
            layers,
            norm,
            rope,
            max_positions: options.max_positions,
            adapters: BTreeMap::new(),
            active: None,
            edits: 0,
            precision: Precision::default(),
            stats: gpu.zeros("stats", &[STATS])?,
            weights,
            fingerprint,
        })
    }
}

/// Elements read from the checkpoint at a time.
const PIECE: usize = 4 << 20;

/// Places a quantized matrix on the device, in buffers of its own. `table` holds the values of
/// bitsandbytes' 8-bit code, and serves every matrix that does not bring a code book of its own.
pub fn upload_nf4(gpu: &Gpu, name: &str, nf4: &Nf4Matrix, table: &Tensor) -> Result<Matrix> {
    let laid = Nf4Words::of(nf4);
    let room = |n: usize| gpu.tensor(name, &[n], Elem::U32);
    let (codes, scales) = (room(laid.w.len())?, room(laid.scales.len())?);
    let nested = (!laid.nested.is_empty()).then(|| room(laid.nested.len())).transpose()?;
    place_nf4(gpu, &Room { codes, scales, nested }, nf4, &laid, table)
}

fn place_nf4(
    gpu: &Gpu,
    room: &Room,
    nf4: &Nf4Matrix,
    laid: &Nf4Words,
    table: &Tensor,
) -> Result<Matrix> {
    let (w, scales) = (room.codes.clone(), room.scales.clone());
    gpu.write_words(&w, 0, &laid.w)?;
    gpu.write_words(&scales, 0, &laid.scales)?;
    let nested = room.nested.clone().unwrap_or_else(|| w.clone());
    gpu.write_words(&nested, 0, bytemuck::cast_slice(&laid.nested))?;
    let table = match &nf4.scales {
        Nf4Scales::Double { code_book, .. } if *code_book != dynamic8_code(true) => {
            gpu.table(w.name(), code_book)?
        }
        _ => table.clone(),
    };
    let (rows, cols, storage) = (nf4.rows, nf4.cols, laid.storage);
    let matrix = Matrix { rows, cols, storage, w, scales, nested, table, halves: true };
    Ok(matrix.with_largest(nf4.absmax().into_iter().fold(0.0, f32::max)))
}

/// The size of the largest of these elements.
fn largest(dense: Dense, bytes: &[u8]) -> f32 {
    // Without the sign, floats have the order of their bits.
    let words = || bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b) & 0x7fff_ffff).max();
    let halves = || bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b) & 0x7fff).max();
    match dense {
        Dense::F32 => f32::from_bits(words().unwrap_or(0)),
        Dense::F16 => half::f16::from_bits(halves().unwrap_or(0)).to_f32(),
        Dense::BF16 => half::bf16::from_bits(halves().unwrap_or(0)).to_f32(),
    }
}

pub(super) struct Loader<'a> {
    pub(super) gpu: &'a Gpu,
    /// Values of 8-bit scales.
    pub(super) table: Tensor,
    pub(super) checkpoint: &'a Checkpoint,
    pub(super) config: &'a ModelConfig,
    pub(super) quant: Quant,
    pub(super) progress: Progress<'a>,
    pub(super) done: u64,
    pub(super) total: u64,
    /// Of all that was placed on the device.
    pub(super) fingerprint: Fingerprint,
}

impl Loader<'_> {
    fn advance(&mut self, bytes: u64) {
        self.done += bytes;
        (self.progress)(self.done.min(self.total), self.total);
    }

    /// A vector as f32.
    pub(super) fn vector(&mut self, name: &str, n: usize) -> Result<Tensor> {
        self.checkpoint.expect(name, &[n])?;
        let values = self.checkpoint.read_f32(name, 0..n)?;
        self.advance(4 * n as u64);
        self.fingerprint.add(name, 0, bytemuck::cast_slice(&values));
        self.gpu.upload(name, &[n], &values)
    }

    fn dense(&self, name: &str) -> Result<Dense> {
        weight_plan::dense(name, self.checkpoint.info(name)?.dtype)
    }

    /// A dense matrix in row shards that fit a binding, in the checkpoint's precision.
    pub(super) fn dense_shards(
        &mut self,
        name: &str,
        rows: usize,
        cols: usize,
    ) -> Result<Vec<Shard>> {
        self.checkpoint.expect(name, &[rows, cols])?;
        let dense = self.dense(name)?;
        let row = cols * dense.bytes();
        let mut shards = Vec::new();
        let mut bytes = Vec::new();
        for range in weight_plan::row_shards(name, rows, cols, dense)? {
            let (first, n) = (range.start, range.len());
            let tensor = self.gpu.tensor(name, &[(n * row).div_ceil(4)], Elem::U32)?;
            let known_as = format!("{name} {dense:?} {first} {n} {cols}");
            let step = PIECE / 8 * 8;
            let mut most = 0f32;
            for at in (0..n * row).step_by(step) {
                let end = (at + step).min(n * row);
                let range = (first * row + at) as u64..(first * row + end) as u64;
                self.checkpoint.read_bytes(name, range, &mut bytes)?;
                self.fingerprint.add(&known_as, at as u64, &bytes);
                most = most.max(largest(dense, &bytes));
                self.gpu.write_words(&tensor, at / 4, &words_of(&bytes))?;
                self.advance(bytes.len() as u64);
            }
            let matrix = Matrix::dense(n, cols, dense, tensor, self.table.clone());
            shards.push(Shard { first, matrix: matrix.with_largest(most) });
        }
        Ok(shards)
    }

    /// A linear layer of a block, quantized where there is room for it so.
    fn linear(&mut self, layer: usize, module: Module, room: Option<Room>) -> Result<Vec<Shard>> {
        let name = module.weight(layer);
        let (rows, cols) = module.shape(self.config);
        let (checkpoint, double) = (self.checkpoint, self.quant == Quant::Nf4);
        let Some(room) = room else {
            // Another program's quantization is refused by its name.
            read_prequantized(checkpoint, &name)?;
            return self.dense_shards(&name, rows, cols);
        };
        let nf4 =
            read_nf4(checkpoint, &name, [rows, cols], double, &mut |read| self.advance(read))?;
        self.place(&name, &room, &nf4)
    }

    fn place(&mut self, name: &str, room: &Room, nf4: &Nf4Matrix) -> Result<Vec<Shard>> {
        let mut add = |part: &str, bytes: &[u8]| {
            let known_as = format!("{name} {part} {} {}", nf4.rows, nf4.cols);
            self.fingerprint.add(&known_as, 0, bytes);
        };
        add("codes", &nf4.packed);
        match &nf4.scales {
            Nf4Scales::Single { absmax } => add("absmax", bytemuck::cast_slice(absmax)),
            Nf4Scales::Double { codes, nested_absmax, offset, code_book } => {
                add("absmax codes", codes);
                add("nested absmax", bytemuck::cast_slice(nested_absmax));
                add("offset", &offset.to_le_bytes());
                add("code book", bytemuck::cast_slice(code_book));
            }
        }
        let matrix = place_nf4(self.gpu, room, nf4, &Nf4Words::of(nf4), &self.table)?;
        Ok(vec![Shard { first: 0, matrix }])
    }

    /// All of a block.
    pub(super) fn layer(&mut self, layer: usize) -> Result<Layer> {
        let d = self.config.hidden_size;
        let base = format!("model.layers.{layer}");
        let mut out = Layer {
            input_norm: self.vector(&format!("{base}.input_layernorm.weight"), d)?,
            post_norm: self.vector(&format!("{base}.post_attention_layernorm.weight"), d)?,
            linears: Default::default(),
            biases: Default::default(),
        };
        let kept = weight_plan::of_each(|module| {
            let name = module.weight(layer);
            weight_plan::kept(self.config, Some(self.checkpoint), &name, self.quant)
        })?;
        let bank = Bank::of(kept, self.config);
        let buffers = bank.allocate(&mut Device::new(self.gpu))?;
        for module in Module::ALL {
            if module.has_bias(self.config) {
                let name = format!("{}.bias", module.path(layer));
                let bias = self.vector(&name, module.shape(self.config).0)?;
                out.biases[module as usize] = Some(bias);
            }
            let room =
                kept[module as usize].map(|_| bank.room(&buffers, module, &module.weight(layer)));
            out.linears[module as usize] = self.linear(layer, module, room.transpose()?)?;
        }
        Ok(out)
    }
}
