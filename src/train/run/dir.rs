//! A run's folder: one process at a time, settings that do not change under way, and a way back in.

use crate::train::checkpoint::{self, Checkpoint};
use crate::train::config::TrainConfig;
use crate::train::durable;
use crate::train::metrics::Metrics;
use crate::train::tensorboard::EventWriter;
use crate::{Error, Result};
use serde::Serialize;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// An open run folder. Dropping it, or the end of the process in whatever way, unlocks it.
#[derive(Debug)]
pub struct RunDir {
    /// The folder.
    pub path: PathBuf,
    /// `metrics.jsonl`.
    pub metrics: Metrics,
    /// `tensorboard/`.
    events: EventWriter,
    _lock: File,
}

/// What [`RunDir::resume`] found.
#[derive(Debug, Default)]
pub struct Resumed {
    /// Where to go on; `None`: from the beginning (the run was stopped before its first
    /// checkpoint).
    pub checkpoint: Option<Checkpoint>,
    /// Things the user should hear: checkpoints that were passed over, lost metrics.
    pub notes: Vec<String>,
}

impl RunDir {
    /// Begins a run: creates and locks the folder and writes `run.toml`.
    ///
    /// **Errors** [`Error::Invalid`] if another process uses the folder, it holds a run already, or
    /// something that is none.
    pub fn start(path: &Path, config: &TrainConfig) -> Result<RunDir> {
        let lock = lock(path)?;
        if path.join("run.toml").exists() {
            let why = "holds a run already; give ‹resume› to go on with it, or another ‹out›";
            return Err(Error::invalid(path.display(), why));
        }
        RunDir::begin(path, config, lock)
    }

    /// Goes on with a run: locks the folder, removes what a killed process left behind, finds the
    /// newest complete checkpoint, and cuts `metrics.jsonl` back to it. Begins the run if the
    /// folder is missing or has none.
    ///
    /// **Errors** [`Error::Invalid`] if another process uses the folder, if settings differ from
    /// those in `run.toml` (naming each), or if no checkpoint can be used.
    pub fn resume(path: &Path, config: &TrainConfig) -> Result<(RunDir, Resumed)> {
        let lock = lock(path)?;
        let run_toml = path.join("run.toml");
        if !run_toml.exists() {
            return Ok((RunDir::begin(path, config, lock)?, Resumed::default()));
        }
        clean(path)?;
        let text = std::fs::read_to_string(&run_toml).map_err(Error::io(&run_toml))?;
        let before = TrainConfig::from_toml(&text, &run_toml.display().to_string())?;
        let differences = before.differences(config)?;
        if !differences.is_empty() {
            let list: Vec<String> = differences.iter().map(ToString::to_string).collect();
            let why = format!(
                "‹resume› needs the settings of the run; these differ ({} → now): {}. \
                 Give the old values, or another ‹out›",
                run_toml.display(),
                list.join(", ")
            );
            return Err(Error::invalid("settings", why));
        }
        let (found, mut notes) = checkpoint::latest(path)?;
        let keep = found.as_ref().map_or(0, |c| c.state.metrics_bytes);
        if let Some(checkpoint) = &found {
            if checkpoint.state.settings != config.fingerprint()? {
                let why =
                    "was written with other settings than run.toml has; run.toml was changed since";
                return Err(Error::invalid(checkpoint.path.display(), why));
            }
            checkpoint::remove_after(path, checkpoint.state.step)?;
        }
        if before != *config {
            durable::write_file(&run_toml, config.to_toml()?.as_bytes())?;
        }
        let metrics = Metrics::open(&path.join("metrics.jsonl"), keep)?;
        if metrics.bytes() < keep {
            notes.push(format!(
                "metrics.jsonl has lost {} bytes since the checkpoint",
                keep - metrics.bytes()
            ));
        }
        let events = events(path)?;
        let dir = RunDir { path: path.to_path_buf(), metrics, events, _lock: lock };
        Ok((dir, Resumed { checkpoint: found, notes }))
    }

    /// Appends a line to `metrics.jsonl`, and its numbers to `tensorboard/`.
    pub fn log(&mut self, line: &impl Serialize) -> Result<()> {
        self.metrics.append(line)?;
        let value = serde_json::to_value(line).map_err(|e| Error::invalid("metrics", e))?;
        self.events.append(&value)
    }

    fn begin(path: &Path, config: &TrainConfig, lock: File) -> Result<RunDir> {
        // A run without its run.toml, or something else's folders: not ours to write over.
        let foreign =
            ["adapter", "best", "checkpoints"].into_iter().find(|n| path.join(n).exists());
        if let Some(name) = foreign {
            let why = format!(
                "holds `{name}` but no run.toml, so that it is no run of this program; give another ‹out›"
            );
            return Err(Error::invalid(path.display(), why));
        }
        clean(path)?;
        let metrics = Metrics::open(&path.join("metrics.jsonl"), 0)?;
        // Last: a folder with run.toml is a run.
        durable::write_file(&path.join("run.toml"), config.to_toml()?.as_bytes())?;
        let events = events(path)?;
        Ok(RunDir { path: path.to_path_buf(), metrics, events, _lock: lock })
    }
}

/// Written anew from the lines of `metrics.jsonl` that were kept.
fn events(path: &Path) -> Result<EventWriter> {
    EventWriter::open(&path.join("tensorboard"), &path.join("metrics.jsonl"))
}

fn clean(path: &Path) -> Result<usize> {
    Ok(durable::clean(path)? + durable::clean(&checkpoint::folder(path))?)
}

/// Creates the folder and takes its lock, which the system drops with the process.
fn lock(path: &Path) -> Result<File> {
    durable::create_dir(path)?;
    let file = path.join(".lock");
    let mut options = std::fs::OpenOptions::new();
    let lock =
        options.write(true).create(true).truncate(false).open(&file).map_err(Error::io(&file))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let why =
                "another process is training in this folder; wait for it, or give another ‹out›";
            Err(Error::invalid(path.display(), why))
        }
        Err(TryLockError::Error(source)) => Err(Error::Io { path: file, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::checkpoint::{CheckpointState, write};
    use crate::train::config::SaveSteps;
    use serde_json::json;

    fn save(dir: &mut RunDir, config: &TrainConfig, step: u64) {
        let state = CheckpointState {
            step,
            settings: config.fingerprint().unwrap(),
            metrics_bytes: dir.metrics.sync().unwrap(),
            ..CheckpointState::default()
        };
        write(&dir.path, &state, &[("x".into(), vec![1])]).unwrap();
    }

    #[test]
    fn a_run_is_started_once_and_locked_against_a_second() {
        let temp = tempfile::tempdir().unwrap();
        let (path, config) = (temp.path().join("a/run"), TrainConfig::default());
        let dir = RunDir::start(&path, &config).unwrap();
        for second in
            [RunDir::start(&path, &config).map(drop), RunDir::resume(&path, &config).map(drop)]
        {
            let message = second.unwrap_err().to_string();
            assert!(message.contains("another process"), "{message}");
        }
        drop(dir);
        let message = RunDir::start(&path, &config).unwrap_err().to_string();
        assert!(message.contains("‹resume›"), "{message}");
        let (_dir, resumed) = RunDir::resume(&path, &config).unwrap();
        assert!(resumed.checkpoint.is_none() && resumed.notes.is_empty());
    }

    #[test]
    fn a_folder_of_something_else_is_left_alone() {
        let temp = tempfile::tempdir().unwrap();
        let config = TrainConfig::default();
        for name in ["adapter", "best", "checkpoints"] {
            let path = temp.path().join(name);
            std::fs::create_dir_all(path.join(name)).unwrap();
            std::fs::write(path.join(".tmp-theirs"), "x").unwrap();
            for refused in
                [RunDir::start(&path, &config).map(drop), RunDir::resume(&path, &config).map(drop)]
            {
                let message = refused.unwrap_err().to_string();
                assert!(message.contains(name) && message.contains("no run.toml"), "{message}");
            }
            assert!(path.join(".tmp-theirs").exists());
        }
    }

    #[test]
    fn resume_cuts_metrics_back_and_cleans_up() {
        let temp = tempfile::tempdir().unwrap();
        let config = TrainConfig::default();
        let mut dir = RunDir::start(temp.path(), &config).unwrap();
        for step in 1..=3 {
            dir.metrics.append(&json!({"step": step})).unwrap();
            if step == 2 {
                save(&mut dir, &config, 2);
            }
        }
        drop(dir);
        let torn = temp.path().join("checkpoints/.tmp-write-step-3");
        std::fs::create_dir(&torn).unwrap();
        let (dir, resumed) = RunDir::resume(temp.path(), &config).unwrap();
        assert_eq!(resumed.checkpoint.unwrap().state.step, 2);
        assert!(!torn.exists());
        let text = std::fs::read_to_string(temp.path().join("metrics.jsonl")).unwrap();
        assert_eq!(text, "{\"step\":1}\n{\"step\":2}\n");
        drop(dir);
        std::fs::write(temp.path().join("metrics.jsonl"), "").unwrap();
        let (_dir, resumed) = RunDir::resume(temp.path(), &config).unwrap();
        assert!(resumed.notes[0].contains("metrics.jsonl"));
    }

    #[test]
    fn resume_passes_over_damaged_checkpoints_and_removes_them() {
        let temp = tempfile::tempdir().unwrap();
        let config = TrainConfig::default();
        let mut dir = RunDir::start(temp.path(), &config).unwrap();
        save(&mut dir, &config, 1);
        save(&mut dir, &config, 2);
        drop(dir);
        let newest = temp.path().join("checkpoints/step-2");
        std::fs::write(newest.join("x"), []).unwrap();
        let (_dir, resumed) = RunDir::resume(temp.path(), &config).unwrap();
        assert_eq!(resumed.checkpoint.unwrap().state.step, 1);
        assert!(resumed.notes[0].contains("step-2"), "{:?}", resumed.notes);
        assert!(!newest.exists());
    }

    #[test]
    fn other_settings_are_refused_by_name_but_saving_may_change() {
        let temp = tempfile::tempdir().unwrap();
        let config = TrainConfig::default();
        let mut dir = RunDir::start(temp.path(), &config).unwrap();
        save(&mut dir, &config, 1);
        drop(dir);
        let other = TrainConfig { rank: 8, learning_rate: 1e-3, ..config.clone() };
        let message = RunDir::resume(temp.path(), &other).unwrap_err().to_string();
        assert!(
            message.contains("rank: 16 → 8") && message.contains("learning_rate: 0.0002 → 0.001"),
            "{message}"
        );
        let saving = TrainConfig { save_steps: SaveSteps::Epoch, ..config };
        let (dir, resumed) = RunDir::resume(temp.path(), &saving).unwrap();
        assert!(resumed.checkpoint.is_some());
        drop(dir);
        let text = std::fs::read_to_string(temp.path().join("run.toml")).unwrap();
        assert!(text.contains("save_steps = \"epoch\""));
        // Somebody edits run.toml and asks for the edited settings.
        std::fs::write(temp.path().join("run.toml"), other.to_toml().unwrap()).unwrap();
        let message = RunDir::resume(temp.path(), &other).unwrap_err().to_string();
        assert!(message.contains("run.toml was changed"), "{message}");
    }
}
