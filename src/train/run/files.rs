//! What a run keeps in its files, and whether a checkpoint belongs to it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::data::Dataset;
use crate::format::{AdapterFile, TrainingNote};
use crate::gpu::{Caps, HALF};
use crate::kernels;
use crate::model::{Model, Precision, Tensors};
use crate::train::checkpoint::{self, Checkpoint, CheckpointState, NamedTensor, decode_tensors};
use crate::train::durable::NamedBytes;
use crate::train::optimizer::{OptimizerState, Values};
use crate::train::ranks::{self, Ranks};
use crate::train::trainer::Trainer;
use crate::{Error, Result};

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";

/// The two files of a PEFT folder, and the note beside them.
pub(super) fn adapter_files(adapter: &AdapterFile, note: &TrainingNote) -> Result<Vec<NamedBytes>> {
    let (config, weights) = adapter.to_bytes()?;
    let note = (TrainingNote::FILE.into(), note.to_json());
    Ok(vec![(CONFIG.into(), config), (WEIGHTS.into(), weights), note])
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
    all.retain(|key, _| !key.ends_with(HALF) || runs(key));
    all.insert("adapter".into(), format!("{} ({})", caps.adapter.name, caps.adapter.driver));
    all.insert("policy".into(), caps.policy.name().into());
    all
}

const WEIGHTS_OF_BASE: &str = "base weights";
const HELD_OUT: &str = "held-out rows";

/// What a run computes with besides its training rows: held-out rows, base weights, and what of the
/// configuration the weights' shapes do not say.
pub(super) fn inputs(model: &Model, held_out: Option<&Dataset>) -> BTreeMap<String, String> {
    let config = model.config();
    let held_out = held_out.map_or("none".into(), Dataset::fingerprint);
    [
        (HELD_OUT, held_out),
        (WEIGHTS_OF_BASE, model.fingerprint()),
        ("family", format!("{:?}", config.family)),
        ("num_attention_heads", config.num_attention_heads.to_string()),
        ("num_key_value_heads", config.num_key_value_heads.to_string()),
        ("rms_norm_eps", config.rms_norm_eps.to_string()),
        ("rope", format!("{:?}", config.rope)),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// Checks that a run goes on with what it began with; returns what cannot be checked.
fn same_inputs(checkpoint: &Checkpoint, now: &CheckpointState) -> Result<Option<String>> {
    let (then, now) = (&checkpoint.state.inputs, &now.inputs);
    if then.is_empty() {
        return Ok(Some(format!(
            "{} was written by an earlier version: whether held-out rows and base weights are those that the run \
             began with cannot be checked",
            checkpoint.path.display()
        )));
    }
    let differs =
        |(name, value): &(&String, &String)| now.get(*name).is_some_and(|now| now != *value);
    let Some((name, before)) = then.iter().find(differs) else { return Ok(None) };
    let why = match name.as_str() {
        HELD_OUT => "are not those that the run began with, so that losses could not be compared; give the old \
                     file, or another ‹out›"
            .to_owned(),
        WEIGHTS_OF_BASE => {
            "are not those that the run began with; give the old model, or another ‹out›".to_owned()
        }
        name => format!(
            "was {before} when the run began, the model's configuration now says {}; give the old model, or \
             another ‹out›",
            now[name]
        ),
    };
    Err(Error::invalid(name, why))
}

/// Checks that a checkpoint belongs to these inputs and these variants; returns what to tell the
/// user.
pub(super) fn same_run(checkpoint: &Checkpoint, now: &CheckpointState) -> Result<Vec<String>> {
    let then = &checkpoint.state;
    if then.data != now.data {
        let why = "the training rows are not those that the run began with; give the old files, or \
                   another ‹out›";
        return Err(Error::invalid("data", why));
    }
    let unchecked = same_inputs(checkpoint, now)?;
    let differs =
        |key: &&String| *key != "adapter" && then.variants.get(*key) != now.variants.get(*key);
    if let Some(key) = then.variants.keys().chain(now.variants.keys()).find(differs) {
        let show = |of: &BTreeMap<String, String>| of.get(key).cloned().unwrap_or("none".into());
        let why = format!(
            "the run began on {} with {key} = {}, this device would run {}; the result would not be \
             the same. Resume on the device that it began on (‹device›), or start another ‹out›",
            show_adapter(&then.variants),
            show(&then.variants),
            show(&now.variants)
        );
        return Err(Error::invalid("kernel variants", why));
    }
    let (before, after) = (show_adapter(&then.variants), show_adapter(&now.variants));
    let moved = (before != after)
        .then(|| format!("the run began on {before} and goes on on {after}: last bits may differ"));
    Ok(unchecked.into_iter().chain(moved).collect())
}

fn show_adapter(variants: &BTreeMap<String, String>) -> &str {
    variants.get("adapter").map_or("another adapter", String::as_str)
}

/// The checkpoint that rank 0 has found, on every rank, and the bytes of its files.
pub(super) struct Found {
    pub(super) checkpoint: Checkpoint,
    parameters: Vec<u8>,
    optimizer: Vec<u8>,
}

impl Found {
    /// `own` is rank 0's; the other ranks have no folder to look in.
    pub(super) fn on_all(ranks: &dyn Ranks, own: Option<Checkpoint>) -> Result<Option<Found>> {
        let bad = |e: serde_json::Error| Error::invalid("checkpoint", e);
        let head = own.as_ref().map(|own| (&own.path, &own.state));
        let head = ranks::broadcast(ranks, serde_json::to_vec(&head).map_err(bad)?)?;
        let head: Option<(PathBuf, CheckpointState)> =
            serde_json::from_slice(&head).map_err(bad)?;
        let Some((path, state)) = head else { return Ok(None) };
        let file = |name| {
            ranks::broadcast(
                ranks,
                match &own {
                    Some(own) => own.file(name)?,
                    None => Vec::new(),
                },
            )
        };
        let (parameters, optimizer) = (file(WEIGHTS)?, file(OPTIMIZER)?);
        Ok(Some(Found { checkpoint: Checkpoint { path, state }, parameters, optimizer }))
    }

    /// Goes on with its parameters and its optimizer.
    pub(super) async fn restore(&self, trainer: &mut Trainer) -> Result<()> {
        let path = self.checkpoint.path.join(WEIGHTS);
        let floats = |t: NamedTensor| match t.data {
            Values::F32(data) => Ok((t.name, (t.shape, data))),
            Values::U8(_) => {
                let at = format!("tensor `{}`", t.name);
                Err(Error::format(path.display(), at, "is U8, expected F32"))
            }
        };
        let parameters = decode_tensors(&self.parameters, &path)?.into_iter().map(floats);
        let parameters = parameters.collect::<Result<Tensors>>()?;
        let state = decode_tensors(&self.optimizer, &self.checkpoint.path.join(OPTIMIZER))?;
        let state = state.into_iter().map(|t| (t.name, (t.shape, t.data))).collect();
        trainer.restore(self.checkpoint.state.step, &parameters, &state).await
    }
}

/// Checks that all ranks run the same: this version on the same settings, rows, weights and kernel
/// variants.
pub(super) fn same_on_all(ranks: &dyn Ranks, caps: &Caps, state: &CheckpointState) -> Result<()> {
    let about = format!("{}, {}", caps.adapter.name, caps.adapter.driver);
    let version = [("the program's version".into(), env!("CARGO_PKG_VERSION").into())].into();
    ranks::agree(ranks, &about, &version, "give all hosts the same program")?;
    let mut files = state.inputs.clone();
    files.insert("hash of the settings".into(), state.settings.clone());
    files.insert("hash of the training rows".into(), state.data.clone());
    ranks::agree(ranks, &about, &files, "give all hosts the same model and data")?;
    let mut variants = state.variants.clone();
    variants.remove("adapter");
    ranks::agree(ranks, &about, &variants, "use GPUs that run the same kernels (‹device›)")
}
