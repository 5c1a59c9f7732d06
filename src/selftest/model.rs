//! Kernels in the variants that a model will run.

use std::collections::BTreeSet;

use super::check::{Check, Trial};
use crate::Result;
use crate::data::Batch;
use crate::format::{AdapterConfig, TargetModules};
use crate::gpu::Gpu;
use crate::kernels;
use crate::kernels::cases::Inputs;
use crate::model::{Device, DropoutKey, Keep, KvCache, Model, Pass, Precision, SlotCache, SlotRow};
use crate::train::config::Optim;
use crate::train::optimizer::{Optimizer, Step};

/// Which kernels to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those between a prompt and its next tokens, with the adapter that is active.
    Answer,
    /// Those that training, and an answer with a trained adapter, need beside them.
    Rest,
}

/// Runs the kernels of `scope` that `model` needs, each with small reproducible inputs, and
/// compares every output with the twin's. Which these are, passes of the model tell that are
/// recorded and not run.
///
/// **Errors** [`Device`](crate::Error::Device) if the driver refuses a kernel; disagreement is a
/// [`Check`], no error.
pub async fn run(gpu: &Gpu, model: &mut Model, scope: Scope) -> Result<Vec<Check>> {
    let mut used = used(model, scope).await?;
    let mut checks: Vec<Check> = Vec::new();
    // What the usual sizes do not meet, odd ones do.
    for (case, odd) in [0, 1].into_iter().flat_map(|odd| kernels::cases().map(move |c| (c, odd))) {
        if !used.iter().any(|variant| variant.split('[').next() == Some(case.kernel.name)) {
            continue;
        }
        let [m, mut n, mut k] = case.small[0];
        if case.kernel.name.starts_with("attention") {
            k = model.config().head_dim;
        } else {
            (n, k) = (n + odd, k + 4 * odd);
        }
        let inputs = Inputs::new(gpu).with_half(model.precision() == Precision::Mixed);
        let mut trials = Vec::new();
        (case.run)(&inputs, [m, n, k], &mut |op| {
            let variant = gpu.caps().select(op.kernel(), &op.context())?.name();
            if used.remove(&variant) {
                trials.push(Trial::begin(&inputs, op, op, variant)?);
            }
            Ok(())
        })?;
        for trial in trials {
            checks.push(trial.finish().await?);
        }
    }
    Ok(checks)
}

/// The variants that `model` needs.
async fn used(model: &mut Model, scope: Scope) -> Result<BTreeSet<String>> {
    let answer = Listing::of(model).variants(async |model| answer(model).await).await?;
    if scope == Scope::Answer {
        return Ok(answer);
    }
    let active = model.active_adapter_name().map(str::to_owned);
    let all = Listing::of(model).variants(async |model| training(model).await).await;
    model.remove_adapter(TRAINED);
    model.set_adapter(active.as_deref())?;
    Ok(all?.difference(&answer).cloned().collect())
}

/// A model whose passes are written down and not run, until this is dropped.
struct Listing<'a> {
    model: &'a mut Model,
    device: Gpu,
}

impl<'a> Listing<'a> {
    fn of(model: &'a mut Model) -> Listing<'a> {
        let device = model.gpu().clone();
        model.record_on(device.listing());
        Listing { model, device }
    }

    async fn variants(
        self,
        passes: impl AsyncFnOnce(&mut Model) -> Result<()>,
    ) -> Result<BTreeSet<String>> {
        passes(&mut *self.model).await?;
        Ok(self.model.gpu().listed())
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        self.model.record_on(self.device.clone());
    }
}

/// Tokens of a prompt: more than the products of few rows take.
const TOKENS: usize = 9;

/// The name of the adapter that is trained on paper.
const TRAINED: &str = "self-test";

/// A prompt and its next token, over a cache and over slots.
async fn answer(model: &Model) -> Result<()> {
    let (gpu, config) = (model.gpu(), model.config());
    let tokens = TOKENS.min(model.max_positions().saturating_sub(1)).max(1);
    let ids = vec![0; tokens];
    let space = model.workspace(Pass { batch: 1, queries: tokens, targets: 1 }, None)?;
    let mut cache = KvCache::new(gpu, config, 1, tokens + 1)?;
    model.extend(&space, &mut cache, &ids).await?;
    model.extend(&space, &mut cache, &[0]).await?;
    let mut slots = SlotCache::new(gpu, config, tokens + 1)?;
    model.prefill_slots(&space, &mut slots, &ids, &[tokens as u32 - 1]).await?;
    let row = SlotRow { id: 0, position: tokens as u32, before: (0..tokens as u32).collect() };
    model.extend_slots(&space, &mut slots, &[row]).await?;
    // DoRA's norms, which its adapter brought.
    model.record_refresh(&mut gpu.recorder("self-test"))
}

/// A step of new adapters of either kind in the last two blocks, which are like all others, and
/// answers with them.
async fn training(model: &mut Model) -> Result<()> {
    let layers = model.config().num_hidden_layers;
    let tokens = TOKENS.min(model.max_positions()).max(2);
    for (use_dora, keep, optim) in
        [(false, Keep::Recomputed, Optim::Adamw), (true, Keep::Half, Optim::Adamw8bit)]
    {
        let adapter = AdapterConfig {
            rank: 16,
            alpha: 32.0,
            dropout: 0.05,
            target_modules: TargetModules::AllLinear,
            layers_to_transform: Some((layers.saturating_sub(2)..layers).collect()),
            use_dora,
            ..AdapterConfig::default()
        };
        model.add_fresh_adapter(TRAINED, &adapter, 0).await?;
        let model = &*model;
        let pass = Pass { batch: 1, queries: tokens, targets: tokens - 1 };
        let space = model.workspace(pass, Some(keep))?;
        // With loss on every token, and on the last alone.
        for untrained in [1, tokens - 1] {
            let mut batch = Batch::default();
            batch.push(0, &vec![0; tokens], untrained..tokens);
            let key = DropoutKey { seed: 0, step: 0, micro: 0 };
            model.micro_batch(&space, &batch, 1.0, Some(key), None)?;
            model.token_nll(&space, &batch).await?;
        }
        let mut rec = model.gpu().recorder("self-test");
        let adapter = model.adapter()?;
        let optimizer = Optimizer::new(&mut Device::new(model.gpu()), adapter.layout(), optim)?;
        optimizer.record(&mut rec, adapter, model.stats(), Step::default())?;
        answer(model).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Checkpoint, ModelConfig};
    use crate::gpu::GpuOptions;
    use crate::model::{LoadOptions, Quant};
    use crate::selftest::require;
    use pollster::block_on;

    #[test]
    fn every_variant_that_a_model_needs_has_a_case() {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        let gpu = block_on(Gpu::with(GpuOptions { adapter, ..Default::default() })).unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/model/tiny_a");
        let checkpoint = Checkpoint::open(folder).unwrap();
        let config = ModelConfig::from_dir(folder).unwrap();
        for quant in [Quant::Nf4, Quant::None] {
            let options = LoadOptions { quant, max_positions: 64 };
            let mut silent = |_, _| {};
            let loaded = Model::load(&gpu, &checkpoint, &config, options, &mut silent);
            let mut model = block_on(loaded).unwrap();
            for scope in [Scope::Answer, Scope::Rest] {
                let used = block_on(used(&mut model, scope)).unwrap();
                let checks = block_on(run(&gpu, &mut model, scope)).unwrap();
                require(&checks).unwrap();
                let tested: BTreeSet<String> = checks.into_iter().map(|c| c.variant).collect();
                assert_eq!(tested, used);
            }
            assert_eq!(model.adapter_names().count(), 0);
        }
    }
}
