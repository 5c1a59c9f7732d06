//! The model: weights, adapters, and whole passes.

use std::collections::BTreeMap;
use std::fmt;

use super::lora::Adapter;
use super::plan::MemoryPlan;
use super::precision::Precision;
use super::weights::{Layer, Shard};
use crate::format::Module;
use crate::format::{AdapterConfig, AdapterFile, ModelConfig};
use crate::gpu::{Gpu, Recorder, Tensor};
use crate::random::Fingerprint;
use crate::{Error, Result};

/// A Llama on a device, with any number of adapters of which one is active.
pub struct Model {
    pub(super) gpu: Gpu,
    pub(super) config: ModelConfig,
    pub(super) embed: Vec<Shard>,
    pub(super) head: Option<Vec<Shard>>,
    pub(super) layers: Vec<Layer>,
    pub(super) norm: Tensor,
    /// Rotary tables `(P, E/2)`: cos, sin.
    pub(super) rope: (Tensor, Tensor),
    pub(super) max_positions: usize,
    pub(super) adapters: BTreeMap<String, Adapter>,
    pub(super) active: Option<String>,
    /// Counts changes of adapters and precision; see [`Model::adapter_state`].
    pub(super) edits: u64,
    pub(super) precision: Precision,
    pub(super) stats: Tensor,
    pub(super) weights: MemoryPlan,
    pub(super) fingerprint: Fingerprint,
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

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Model({} layers, {} bytes of weights)", self.layers.len(), self.weight_bytes())
    }
}

impl Model {
    /// Records on another handle of its device from now on; returns the one until now.
    pub(crate) fn record_on(&mut self, gpu: Gpu) -> Gpu {
        std::mem::replace(&mut self.gpu, gpu)
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

    /// A hash of the frozen weights as they lie on the device: equal exactly when it computes with
    /// the same ones.
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
        self.edits += 1;
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
        self.insert(name, adapter).await?;
        // DoRA's magnitude starts as the norm of the frozen row (B is zero, so this is what the
        // norm is).
        let adapter = self.adapter()?;
        for pair in adapter.pairs.values() {
            if let Some(dora) = &pair.dora {
                let norm = self.gpu.read(&dora.norm).await?;
                self.gpu.write(&dora.magnitude, &norm)?;
            }
        }
        Ok(())
    }

    /// Adds an adapter read from a file and makes it the active one. It answers, and has no room
    /// for gradients.
    pub async fn add_adapter(&mut self, name: &str, file: &AdapterFile) -> Result<()> {
        let adapter = Adapter::from_file(&self.gpu, file, &self.config, false)?;
        self.insert(name, adapter).await
    }

    /// The same with room for gradients, to train it further (PEFT: `is_trainable`). Then every
    /// layer must have its tensors. **Errors** [`Error::Unsupported`] for one that has biases.
    pub async fn add_trainable_adapter(&mut self, name: &str, file: &AdapterFile) -> Result<()> {
        let adapter = Adapter::from_file(&self.gpu, file, &self.config, true)?;
        self.insert(name, adapter).await
    }

    async fn insert(&mut self, name: &str, adapter: Adapter) -> Result<()> {
        self.edits += 1;
        self.adapters.insert(name.to_owned(), adapter);
        self.active = Some(name.to_owned());
        self.refresh_adapter().await
    }

    fn no_adapter(&self, name: &str) -> Error {
        let known = self.adapters.keys().map(|known| format!("`{known}`")).collect::<Vec<_>>();
        let there = match &known[..] {
            [] => "the model has none".into(),
            [one] => format!("there is {one}"),
            many => format!("there are {}", many.join(", ")),
        };
        Error::invalid("adapter", format!("there is none called `{name}`; {there}"))
    }

    /// Chooses the active adapter by name, or none. **Errors** [`Error::Invalid`] lists the names.
    pub fn set_adapter(&mut self, name: Option<&str>) -> Result<()> {
        if let Some(name) = name
            && !self.adapters.contains_key(name)
        {
            return Err(self.no_adapter(name));
        }
        self.active = name.map(str::to_owned);
        Ok(())
    }

    /// Multiplies the scale of each of the adapter's layers by `factor` (1 as trained, 0 like the
    /// base model), as PEFT's `set_scale`. **Errors** [`Error::Invalid`] for an unknown name or a
    /// factor that is not finite.
    pub async fn set_adapter_scale(&mut self, name: &str, factor: f64) -> Result<()> {
        if !factor.is_finite() {
            return Err(Error::invalid("scale", format!("{factor} is not finite")));
        }
        self.edits += 1;
        match self.adapters.get_mut(name) {
            Some(adapter) => adapter.set_scale(factor),
            None => return Err(self.no_adapter(name)),
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
        self.edits += 1;
        self.adapters.remove(name);
        self.active.take_if(|active| active == name);
    }

    /// Name of the active adapter.
    pub fn active_adapter_name(&self) -> Option<&str> {
        self.active.as_deref()
    }

    /// Equal as long as the same adapter answers with the same strength: keys and values that were
    /// computed in one state are of no use in another. Training changes values unseen.
    pub fn adapter_state(&self) -> (Option<&str>, u64) {
        (self.active_adapter_name(), self.edits)
    }

    /// Names of the adapters.
    pub fn adapter_names(&self) -> impl Iterator<Item = &str> {
        self.adapters.keys().map(String::as_str)
    }

    /// The active adapter. **Errors** [`Error::Invalid`] without one.
    pub fn adapter(&self) -> Result<&Adapter> {
        self.active_adapter().ok_or_else(|| Error::invalid("adapter", "none is active"))
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
