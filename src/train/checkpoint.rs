//! `RUNDIR/checkpoints/step-N/`: everything needed to go on as if the run had never stopped.
//!
//! A folder with that name is complete: it was written elsewhere, synced and renamed. `state.json`
//! holds the [`CheckpointState`] and the length and FNV-1a of every other file, so that a folder
//! that was damaged later is noticed and passed over.

use super::durable::{self, NamedBytes};
use super::exact;
use super::optimizer::Values;
use super::unlogged::Unlogged;
use crate::data::Position;
use crate::random::Fnv;
use crate::{Error, Result};
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The layout of `state.json`; raised when old programs could misread it. Version 1 knew neither
/// `due`, `unlogged` nor `inputs`; it is still read.
pub const VERSION: u32 = 2;

const STATE: &str = "state.json";

/// What a run has to do before its next step, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// Evaluate the held-out rows.
    pub evaluation: bool,
    /// Write a checkpoint.
    pub save: bool,
}

/// What a run knows after an event, besides its tensors. Data order and dropout follow from seed
/// and position, so there is no generator to save; `rng` is for counters that a trainer may add.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// Optimizer steps done.
    pub step: u64,
    /// Where the next step's rows begin (epoch included).
    #[serde(rename = "sampler")]
    pub position: Position,
    /// [`super::config::TrainConfig::fingerprint`] of the run.
    pub settings: String,
    /// [`crate::data::Dataset::fingerprint`] of the training rows.
    pub data: String,
    /// What else the run began with: held-out rows, base weights, and what the model's
    /// configuration says.
    #[serde(default)]
    pub inputs: BTreeMap<String, String>,
    /// The adapter and variants that the run began with: kernel → variant.
    pub variants: BTreeMap<String, String>,
    /// What is left to do after the last step.
    #[serde(default)]
    pub due: Due,
    /// The steps since the last line of metrics.
    #[serde(default)]
    pub unlogged: Unlogged,
    /// Named counters of random streams.
    pub rng: BTreeMap<String, u64>,
    /// Lowest evaluation loss so far.
    #[serde(with = "exact")]
    pub best_eval_loss: Option<f64>,
    /// The step it was reached at.
    pub best_step: Option<u64>,
    /// Evaluations since then, for early stopping.
    pub evals_without_improvement: u64,
    /// Length of `metrics.jsonl`, which is cut back to it.
    pub metrics_bytes: u64,
    /// Targets trained on.
    pub target_tokens: u64,
    /// Time trained, in seconds.
    #[serde(with = "exact")]
    pub seconds: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct StateFile {
    version: u32,
    state: CheckpointState,
    files: BTreeMap<String, FileSum>,
}

#[derive(Serialize, Deserialize, PartialEq)]
struct FileSum {
    bytes: u64,
    fnv1a: String,
}

impl FileSum {
    fn of(bytes: &[u8]) -> FileSum {
        FileSum { bytes: bytes.len() as u64, fnv1a: format!("{:016x}", Fnv::of(bytes)) }
    }
}

/// A tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// Its key.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub data: Values,
}

/// Tensors as a safetensors file (little-endian, sorted by name, `format: pt` as PEFT writes it).
/// Equal tensors give equal bytes, whatever their order.
///
/// **Errors** [`Error::Invalid`] if a shape does not fit its data or a name comes twice.
pub fn encode_tensors(tensors: &[NamedTensor]) -> Result<Vec<u8>> {
    let mut bytes: BTreeMap<&str, (Dtype, Vec<usize>, Vec<u8>)> = BTreeMap::new();
    for t in tensors {
        let (dtype, data) = match &t.data {
            Values::F32(x) => (Dtype::F32, x.iter().flat_map(|x| x.to_le_bytes()).collect()),
            Values::U8(x) => (Dtype::U8, x.clone()),
        };
        if bytes.insert(t.name.as_str(), (dtype, t.shape.clone(), data)).is_some() {
            return Err(Error::invalid(&t.name, "two tensors have this name"));
        }
    }
    let mut views = Vec::new();
    for (name, (dtype, shape, data)) in &bytes {
        let view = TensorView::new(*dtype, shape.clone(), data);
        views.push((*name, view.map_err(|e| Error::invalid(name, e))?));
    }
    let metadata = [("format".to_string(), "pt".to_string())].into();
    safetensors::serialize(views, Some(metadata)).map_err(|e| Error::invalid("tensors", e))
}

/// The tensors of a safetensors file, sorted by name; `path` is for messages.
///
/// **Errors** [`Error::Format`] if the file is damaged or a tensor is neither F32 nor U8.
pub fn decode_tensors(bytes: &[u8], path: &Path) -> Result<Vec<NamedTensor>> {
    let damaged = |e| Error::format(path.display(), "safetensors", e);
    let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let mut tensors = Vec::new();
    for (name, view) in file.iter() {
        let word = |w: &[u8]| f32::from_le_bytes([w[0], w[1], w[2], w[3]]);
        let data = match view.dtype() {
            Dtype::F32 => Values::F32(view.data().chunks_exact(4).map(word).collect()),
            Dtype::U8 => Values::U8(view.data().to_vec()),
            other => {
                let why = format!("is {other:?}, expected F32 or U8");
                return Err(Error::format(path.display(), format!("tensor `{name}`"), why));
            }
        };
        tensors.push(NamedTensor { name: name.to_string(), shape: view.shape().to_vec(), data });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}

/// A complete checkpoint on disk.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Its folder.
    pub path: PathBuf,
    /// What `state.json` says.
    pub state: CheckpointState,
}

impl Checkpoint {
    /// Opens a checkpoint and reads every file of it once, to be sure of it.
    ///
    /// **Errors** [`Error::Io`] for a missing file; [`Error::Format`] if a file is not as
    /// `state.json` says, or that was written by a newer program.
    pub fn open(path: &Path) -> Result<Checkpoint> {
        let state_path = path.join(STATE);
        let bad = |why: String| Error::format(state_path.display(), "content", why);
        let text = std::fs::read(&state_path).map_err(Error::io(&state_path))?;
        // The version first: the rest of another version may have other fields.
        let value: serde_json::Value =
            serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if !version.is_some_and(|version| (1..=u64::from(VERSION)).contains(&version)) {
            let found = version.map_or("none".into(), |v| v.to_string());
            return Err(bad(format!("layout version {found}, this program reads 1 to {VERSION}")));
        }
        let mut file: StateFile = serde_json::from_value(value).map_err(|e| bad(e.to_string()))?;
        if version == Some(1) {
            // Stopped in or after the evaluation that comes before the first step, which always is
            // the best so far.
            let state = &mut file.state;
            state.due.evaluation = state.step == 0 && state.best_eval_loss.is_none();
        }
        if path.file_name().and_then(|name| step_of(&name.to_string_lossy()))
            != Some(file.state.step)
        {
            return Err(bad(format!(
                "is of step {}, the folder's name says otherwise",
                file.state.step
            )));
        }
        for (name, sum) in &file.files {
            let path = path.join(name);
            let bytes = std::fs::read(&path).map_err(Error::io(&path))?;
            if FileSum::of(&bytes) != *sum {
                let why = format!("{} bytes that are not the {} written", bytes.len(), sum.bytes);
                return Err(Error::format(path.display(), "content", why));
            }
        }
        Ok(Checkpoint { path: path.to_path_buf(), state: file.state })
    }

    /// The bytes of one of its files.
    pub fn file(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path.join(name);
        std::fs::read(&path).map_err(Error::io(path))
    }

    /// The tensors of one of its safetensors files.
    pub fn tensors(&self, name: &str) -> Result<Vec<NamedTensor>> {
        decode_tensors(&self.file(name)?, &self.path.join(name))
    }
}

/// Writes `RUNDIR/checkpoints/step-N/` with `files` (safetensors made by [`encode_tensors`], JSON)
/// and `state.json`; N is `state.step`. It appears complete or not at all, and replaces one of that
/// step.
pub fn write(run_dir: &Path, state: &CheckpointState, files: &[NamedBytes]) -> Result<PathBuf> {
    let folder = folder(run_dir);
    durable::create_dir(&folder)?;
    if files.iter().any(|(name, _)| name == STATE) {
        return Err(Error::invalid(STATE, "is written by the checkpoint itself"));
    }
    let sums = files.iter().map(|(name, bytes)| (name.clone(), FileSum::of(bytes))).collect();
    let content = StateFile { version: VERSION, state: state.clone(), files: sums };
    let json = serde_json::to_vec_pretty(&content).map_err(|e| Error::invalid(STATE, e))?;
    let path = folder_of(run_dir, state.step);
    let mut all = files.to_vec();
    all.push((STATE.to_string(), json));
    durable::write_dir(&path, &all)?;
    Ok(path)
}

/// The checkpoints of a run by step, oldest first, not opened.
pub fn list(run_dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let step = |path: PathBuf| {
        let step = step_of(&path.file_name()?.to_string_lossy())?;
        path.is_dir().then_some((step, path))
    };
    let mut found: Vec<_> =
        durable::entries(&folder(run_dir))?.into_iter().filter_map(step).collect();
    found.sort();
    Ok(found)
}

/// The newest checkpoint that is complete, and why newer ones were passed over. `None` if the run
/// has none at all. Changes nothing on disk.
///
/// **Errors** [`Error::Invalid`] if there are checkpoints but none is complete, with the reasons.
pub fn latest(run_dir: &Path) -> Result<(Option<Checkpoint>, Vec<String>)> {
    let mut passed_over = Vec::new();
    for (_, path) in list(run_dir)?.into_iter().rev() {
        match Checkpoint::open(&path) {
            Ok(checkpoint) => return Ok((Some(checkpoint), passed_over)),
            Err(e) => passed_over.push(e.to_string()),
        }
    }
    if passed_over.is_empty() {
        return Ok((None, passed_over));
    }
    let why = format!(
        "none of the checkpoints can be used: {}. Delete them to start over",
        passed_over.join("; ")
    );
    Err(Error::invalid(folder(run_dir).display(), why))
}

/// Deletes the oldest checkpoints until `keep` are left (at least one), and returns the number
/// deleted.
pub fn prune(run_dir: &Path, keep: usize) -> Result<usize> {
    let all = list(run_dir)?;
    let excess = all.len().saturating_sub(keep.max(1));
    for (_, path) in &all[..excess] {
        durable::remove_dir(path)?;
    }
    Ok(excess)
}

/// Deletes the checkpoints after `step`. A resumed run calls it, so that damaged newer ones do not
/// push good ones out when [`prune`] counts.
pub fn remove_after(run_dir: &Path, step: u64) -> Result<usize> {
    let newer: Vec<_> = list(run_dir)?.into_iter().filter(|(s, _)| *s > step).collect();
    for (_, path) in &newer {
        durable::remove_dir(path)?;
    }
    Ok(newer.len())
}

/// `RUNDIR/checkpoints/step-N`.
pub fn folder_of(run_dir: &Path, step: u64) -> PathBuf {
    folder(run_dir).join(format!("step-{step}"))
}

/// `RUNDIR/checkpoints`.
pub fn folder(run_dir: &Path) -> PathBuf {
    run_dir.join("checkpoints")
}

fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.parse().ok()?;
    (name == format!("step-{step}")).then_some(step)
}

#[cfg(test)]
#[path = "checkpoint_tests.rs"]
mod tests;
