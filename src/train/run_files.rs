//! What a run keeps in its files, and whether a checkpoint belongs to it.

use std::collections::BTreeMap;

use super::checkpoint::{self, Checkpoint, CheckpointState, NamedTensor};
use super::durable::NamedBytes;
use super::optimizer::{OptimizerState, Values};
use super::trainer::Trainer;
use crate::format::AdapterFile;
use crate::gpu::{Caps, HALF};
use crate::kernels;
use crate::model::{Precision, Tensors};
use crate::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";

/// The two files of a PEFT folder.
pub(super) fn adapter_files(adapter: &AdapterFile) -> Result<Vec<NamedBytes>> {
    let (config, weights) = adapter.to_bytes()?;
    Ok(vec![(CONFIG.into(), config), (WEIGHTS.into(), weights)])
}

/// AdamW's state as a file.
pub(super) fn optimizer_file(state: OptimizerState) -> Result<NamedBytes> {
    let named = state.into_iter().map(|(name, (shape, data))| NamedTensor { name, shape, data });
    Ok((OPTIMIZER.into(), checkpoint::encode_tensors(&named.collect::<Vec<_>>())?))
}

/// What decides a run's bits besides settings and data; of products at 16 bits only if it has them.
pub(super) fn variants(caps: &Caps, precision: Precision) -> BTreeMap<String, String> {
    let mut all = caps.variants(kernels::ALL);
    let runs = |key: &str| precision == Precision::Mixed && key.starts_with("linear");
    all.retain(|key, _| !key.ends_with(HALF.1) || runs(key));
    all.insert("adapter".into(), format!("{} ({})", caps.adapter.name, caps.adapter.driver));
    all.insert("policy".into(), caps.policy.name().into());
    all
}

/// Checks that a checkpoint belongs to this data and these variants; returns what to tell the user.
pub(super) fn same_run(checkpoint: &Checkpoint, now: &CheckpointState) -> Result<Option<String>> {
    let then = &checkpoint.state;
    if then.data != now.data {
        let why = "the training rows are not those that the run began with; give the old files, or \
                   another --out";
        return Err(Error::invalid("data", why));
    }
    let differs =
        |key: &&String| *key != "adapter" && then.variants.get(*key) != now.variants.get(*key);
    if let Some(key) = then.variants.keys().chain(now.variants.keys()).find(differs) {
        let show = |of: &BTreeMap<String, String>| of.get(key).cloned().unwrap_or("none".into());
        let why = format!(
            "the run began on {} with {key} = {}, this device would run {}; the result would not be \
             the same. Resume on the device that it began on (--device), or start another --out",
            show_adapter(&then.variants),
            show(&then.variants),
            show(&now.variants)
        );
        return Err(Error::invalid("kernel variants", why));
    }
    let (before, after) = (show_adapter(&then.variants), show_adapter(&now.variants));
    Ok((before != after)
        .then(|| format!("the run began on {before} and goes on on {after}: last bits may differ")))
}

fn show_adapter(variants: &BTreeMap<String, String>) -> &str {
    variants.get("adapter").map_or("another adapter", String::as_str)
}

/// Parameters and optimizer of a checkpoint.
pub(super) async fn restore(trainer: &mut Trainer, checkpoint: &Checkpoint) -> Result<()> {
    let floats = |t: NamedTensor| match t.data {
        Values::F32(data) => Ok((t.name, (t.shape, data))),
        Values::U8(_) => {
            let (path, at) = (checkpoint.path.join(WEIGHTS), format!("tensor `{}`", t.name));
            Err(Error::format(path.display(), at, "is U8, expected F32"))
        }
    };
    let parameters = checkpoint.tensors(WEIGHTS)?.into_iter().map(floats);
    let parameters = parameters.collect::<Result<Tensors>>()?;
    let state = checkpoint.tensors(OPTIMIZER)?;
    let state = state.into_iter().map(|t| (t.name, (t.shape, t.data))).collect();
    trainer.restore(checkpoint.state.step, &parameters, &state).await
}
