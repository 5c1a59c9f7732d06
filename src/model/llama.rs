//! The model: weights, adapters, and whole passes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::load::{LoadOptions, Loader, Progress};
use super::lora::Adapter;
use super::module::Module;
use super::plan::MemoryPlan;
use super::precision::Precision;
use crate::format::{AdapterConfig, AdapterFile, Checkpoint, ModelConfig, NORM, check_window};
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::kernels::{Dense, Matrix};
use crate::quant::dynamic8_code;
use crate::random::Fingerprint;
use crate::{Error, Result};

/// Some rows of a matrix.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Number of the first.
    pub first: usize,
    /// The rows.
    pub matrix: Matrix,
}

impl Shard {
    /// The same rows, at most so many at a time; all at once where they cannot be parted.
    pub(super) fn bands(&self, most: usize) -> Vec<Shard> {
        let rows = self.matrix.rows;
        let band = |first: usize| {
            let matrix = self.matrix.band(first, most.min(rows - first))?;
            Some(Shard { first: self.first + first, matrix })
        };
        (0..rows)
            .step_by(most)
            .map(band)
            .collect::<Option<_>>()
            .unwrap_or_else(|| vec![self.clone()])
    }
}

/// A block's frozen weights.
#[derive(Debug)]
pub(super) struct Layer {
    pub(super) input_norm: Tensor,
    pub(super) post_norm: Tensor,
    /// By number of [`Module`].
    pub(super) linears: [Vec<Shard>; 7],
    /// `(out)` of the layers that have one (q, k, v of Qwen2).
    pub(super) biases: [Option<Tensor>; 7],
}

/// A Llama on a device, with any number of adapters of which one is active.
pub struct Model {
    pub(super) gpu: Gpu,
    pub(super) config: ModelConfig,
    pub(super) embed: Vec<Shard>,
    head: Option<Vec<Shard>>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Tensor,
    /// Rotary tables `(P, E/2)`: cos, sin.
    pub(super) rope: (Tensor, Tensor),
    pub(super) max_positions: usize,
    adapters: BTreeMap<String, Adapter>,
    active: Option<String>,
    precision: Precision,
    pub(super) stats: Tensor,
    weights: MemoryPlan,
    fingerprint: Fingerprint,
}

/// What PEFT's `print_trainable_parameters` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrainableParameters {
    /// Of the active adapter.
    pub trainable: usize,
    /// Of model and adapter.
    pub all: usize,
}

impl fmt::Display for TrainableParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let grouped = |n: usize| {
            let digits = n.to_string();
            let mut out = String::new();
            for (i, c) in digits.chars().enumerate() {
                if i > 0 && (digits.len() - i).is_multiple_of(3) {
                    out.push(',');
                }
                out.push(c);
            }
            out
        };
        write!(
            f,
            "trainable params: {} || all params: {} || trainable%: {:.4}",
            grouped(self.trainable),
            grouped(self.all),
            100.0 * self.trainable as f64 / self.all as f64
        )
    }
}

/// Slot of the summed NLL in the statistics tensor, behind norm and clip coefficient (written by the optimizer).
pub(crate) const STAT_LOSS: usize = 2;
/// Slot of a number as a word: activations beyond f16's range that were packed as its largest value.
pub(crate) const STAT_CLAMPED: usize = 3;
/// Words of the statistics tensor.
pub(super) const STATS: usize = 8;

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} layers, {} bytes of weights)", self.layers.len(), self.weight_bytes())
    }
}

impl Model {
    /// Loads a checkpoint to the device, tensor by tensor; `progress` is told bytes done and in all.
    ///
    /// **Errors** [`Error::MissingTensor`], [`Error::Shape`], [`Error::Format`], [`Error::Unsupported`]
    /// for the checkpoint; [`Error::OutOfMemory`] before anything is allocated if it cannot fit.
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
            precision: Precision::default(),
            stats: gpu.zeros("stats", &[STATS])?,
            weights,
            fingerprint,
        })
    }

    /// The device it lives on.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Its configuration.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Bytes of frozen weights on the device.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.total()
    }

    /// A hash of the frozen weights as they lie on the device: equal exactly when it computes with the same ones.
    pub fn fingerprint(&self) -> String {
        self.fingerprint.to_string()
    }

    /// What loading it allocated.
    pub fn memory(&self) -> &MemoryPlan {
        &self.weights
    }

    /// How it computes; f32 after loading.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Computes so from now on.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
    }

    /// Whether products with frozen weights may round their factors to 16 bits.
    pub(super) fn half(&self) -> bool {
        self.precision == Precision::Mixed
    }

    pub(super) fn head_shards(&self) -> &[Shard] {
        self.head.as_deref().unwrap_or(&self.embed)
    }

    /// Adds a new adapter, initialised from `seed`, and makes it the active one.
    pub async fn add_fresh_adapter(
        &mut self,
        name: &str,
        config: &AdapterConfig,
        seed: u64,
    ) -> Result<()> {
        let adapter = Adapter::fresh(&self.gpu, config, &self.config, seed)?;
        self.insert(name, adapter);
        self.refresh_adapter().await?;
        // DoRA's magnitude starts as the norm of the frozen row (B is zero, so this is what the norm is).
        let adapter = self.adapter()?;
        for pair in adapter.pairs.values() {
            if let Some(dora) = &pair.dora {
                let norm = self.gpu.read(&dora.norm).await?;
                self.gpu.write(&dora.magnitude, &norm)?;
            }
        }
        Ok(())
    }

    /// Adds an adapter read from a file and makes it the active one; `train` keeps room for gradients.
    pub async fn add_adapter(&mut self, name: &str, file: &AdapterFile, train: bool) -> Result<()> {
        let adapter = Adapter::from_file(&self.gpu, file, &self.config, train)?;
        self.insert(name, adapter);
        self.refresh_adapter().await
    }

    fn insert(&mut self, name: &str, adapter: Adapter) {
        self.adapters.insert(name.to_owned(), adapter);
        self.active = Some(name.to_owned());
    }

    /// Chooses the active adapter by name, or none. **Errors** [`Error::Invalid`] lists the names.
    pub fn set_adapter(&mut self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name
            && !self.adapters.contains_key(name)
        {
            let known: Vec<_> = self.adapters.keys().collect();
            let why = format!("there is none called `{name}`; there are {known:?}");
            return Err(Error::invalid("adapter", why));
        }
        self.active = name.map(str::to_owned);
        Ok(())
    }

    /// Multiplies the scale of each of the adapter's layers by `factor` (1 as trained, 0 like the base model), as PEFT's
    /// `set_scale`. **Errors** [`Error::Invalid`] for an unknown name or a factor that is not finite.
    pub async fn set_adapter_scale(&mut self, name: &str, factor: f64) -> Result<()> {
        if !factor.is_finite() {
            return Err(Error::invalid("scale", format!("{factor} is not finite")));
        }
        match self.adapters.get_mut(name) {
            Some(adapter) => adapter.set_scale(factor),
            None => {
                return Err(Error::invalid("adapter", format!("there is none called `{name}`")));
            }
        }
        // Its norms, be it the active one or not.
        let active = self.active.replace(name.to_owned());
        let mut rec = self.gpu.recorder("adapter");
        let recorded = self.record_refresh(&mut rec);
        self.active = active;
        recorded?;
        rec.finish().await
    }

    /// Removes an adapter; the base model answers if it was the active one.
    pub fn remove_adapter(&mut self, name: &str) {
        self.adapters.remove(name);
        self.active.take_if(|active| active == name);
    }

    /// Name of the active adapter.
    pub fn active_adapter_name(&self) -> Option<&str> {
        self.active.as_deref()
    }

    /// The shader modules that read this model's matrices, adapters' included.
    pub fn weight_modules(&self) -> BTreeSet<&'static str> {
        let shards = self.embed.iter().chain(self.head_shards());
        let dense = shards.map(|s| s.matrix.storage.module()).chain([Dense::F32.module()]);
        dense.chain(self.linear_modules()).collect()
    }

    /// Those that read its linear layers.
    pub fn linear_modules(&self) -> BTreeSet<&'static str> {
        let layers = self.layers.iter().flat_map(|layer| layer.linears.iter().flatten());
        layers.map(|s| s.matrix.storage.module()).collect()
    }

    /// Names of the adapters.
    pub fn adapter_names(&self) -> impl Iterator<Item = &str> {
        self.adapters.keys().map(String::as_str)
    }

    /// The active adapter. **Errors** [`Error::Invalid`] without one.
    pub fn adapter(&self) -> Result<&Adapter> {
        self.active_adapter().ok_or_else(|| Error::invalid("adapter", "none is active"))
    }

    /// The active adapter, to change its metadata.
    pub fn adapter_mut(&mut self) -> Result<&mut Adapter> {
        let active = self.active.as_ref().and_then(|name| self.adapters.get_mut(name));
        active.ok_or_else(|| Error::invalid("adapter", "none is active"))
    }

    pub(super) fn active_adapter(&self) -> Option<&Adapter> {
        self.active.as_ref().and_then(|name| self.adapters.get(name))
    }

    /// Recomputes what depends on the active adapter's values (DoRA's norms).
    pub(crate) async fn refresh_adapter(&self) -> Result<()> {
        let mut rec = self.gpu.recorder("adapter");
        self.record_refresh(&mut rec)?;
        rec.finish().await
    }

    pub(crate) fn record_refresh(&self, rec: &mut Recorder) -> Result<()> {
        (0..self.layers.len()).try_for_each(|index| self.block(index, None).refresh(rec))
    }

    /// The line that PEFT prints.
    pub fn trainable_parameters(&self) -> TrainableParameters {
        let trainable = self.active_adapter().map_or(0, Adapter::parameter_count);
        let per_layer: usize = Module::ALL
            .iter()
            .map(|m| {
                let (n, k) = m.shape(&self.config);
                n * k + if m.has_bias(&self.config) { n } else { 0 }
            })
            .sum();
        let (d, v) = (self.config.hidden_size, self.config.vocab_size);
        let heads = if self.head.is_some() { 2 } else { 1 };
        let base = heads * v * d + self.layers.len() * (per_layer + 2 * d) + d;
        TrainableParameters { trainable, all: base + trainable }
    }
}
