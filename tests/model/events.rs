//! A run that is stopped behind any of its events, or in one, and resumed ends as the unbroken run:
//! the same adapter, `best/`, optimizer, lines of metrics, TensorBoard records and end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wgpu_lora::data::{Dataset, DatasetOptions, Encode};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::model::Quant;
use wgpu_lora::train::config::{Optim, SaveSteps, TargetModules, TrainConfig};
use wgpu_lora::train::event::Event;
use wgpu_lora::train::run::{Run, Start};
use wgpu_lora::train::schedule::SchedulerType;

use crate::setup::*;

pub struct Letters;
impl Encode for Letters {
    fn encode(&self, text: &str) -> wgpu_lora::Result<Vec<u32>> {
        Ok(text.bytes().map(|b| 3 + u32::from(b)).collect())
    }
    fn eos(&self) -> Option<u32> {
        Some(2)
    }
}

pub fn rows(name: &str, numbers: std::ops::Range<u32>) -> Dataset {
    let row = |i: u32| {
        let prompt = "ab".repeat(1 + i as usize * 7 % 5);
        format!("{{\"prompt\": \"{prompt} {i} is \", \"completion\": \"{}\"}}\n", i * i % 31)
    };
    let text: String = numbers.map(row).collect();
    Dataset::from_text(name, text.as_bytes(), &Letters, &DatasetOptions::default()).unwrap()
}

struct Case {
    gpu: Gpu,
    config: TrainConfig,
    held_out: bool,
}

impl Case {
    fn open(&self, out: &Path, start: Start) -> Run {
        let held_out = self.held_out.then(|| rows("eval.jsonl", 40..43));
        let (model, rows) = (load(&self.gpu, "tiny_a", Quant::Nf4), rows("train.jsonl", 0..7));
        block_on(Run::new(model, rows, held_out, self.config.clone(), out, start)).unwrap()
    }
}

/// An event without what the clock decides, or where a file lies; saves are left out, since a
/// stopped run makes more.
fn named(event: &Event) -> Option<String> {
    match event {
        Event::Step { step, logged } => {
            let logged = logged.as_ref().map(|l| (l.step, l.loss.to_bits(), l.target_tokens));
            let bits = (step.loss.to_bits(), step.grad_norm.to_bits(), step.target_tokens);
            Some(format!("step {} {bits:?} {logged:?}", step.step))
        }
        Event::Eval(line) => Some(format!("{line:?}")),
        Event::Saved(_) => None,
        Event::Done(end) => {
            Some(format!("done {} {} {:?}", end.steps, end.stopped_early, end.best))
        }
    }
}

fn finish(mut run: Run) -> Vec<Event> {
    std::iter::from_fn(|| block_on(run.next()).unwrap()).collect()
}

fn copy(from: &Path, to: &Path) {
    if from.is_file() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}

fn replace(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).unwrap();
    }
    if from.exists() {
        copy(from, to);
    }
}

/// TensorBoard's records without wall times, speeds and checksums.
fn records(folder: &Path) -> Vec<Vec<u8>> {
    let files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|f| f.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    let bytes = fs::read(&files[0]).unwrap();
    let (mut at, mut records) = (0, Vec::new());
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        let mut data = bytes[at + 12..at + 12 + length].to_vec();
        data[1..9].fill(0);
        let speed = b"tokens_per_second";
        if let Some(found) = data.windows(speed.len()).position(|w| w == speed) {
            data[found + speed.len() + 1..][..4].fill(0);
        }
        records.push(data);
        at += length + 16;
    }
    records
}

/// All that a run leaves, without what the clock decides.
fn outcome(out: &Path) -> BTreeMap<String, Vec<u8>> {
    fn timeless(value: &mut Value) {
        for key in ["seconds", "tokens_per_second"] {
            value.as_object_mut().unwrap().remove(key);
        }
    }
    let mut all = BTreeMap::new();
    let newest = fs::read_dir(out.join("checkpoints")).unwrap();
    let step =
        |path: PathBuf| path.file_name()?.to_str()?.strip_prefix("step-")?.parse::<u64>().ok();
    let newest = newest.filter_map(|entry| step(entry.unwrap().path())).max().unwrap();
    for folder in ["adapter".into(), "best".into(), format!("checkpoints/step-{newest}")] {
        for entry in fs::read_dir(out.join(&folder)).into_iter().flatten() {
            let path = entry.unwrap().path();
            let name = format!("{folder}/{}", path.file_name().unwrap().to_str().unwrap());
            let mut bytes = fs::read(&path).unwrap();
            if name.ends_with("state.json") {
                let mut file: Value = serde_json::from_slice(&bytes).unwrap();
                // Its length holds numbers that the clock decides.
                file["state"].as_object_mut().unwrap().remove("metrics_bytes");
                timeless(&mut file["state"]);
                timeless(&mut file["state"]["unlogged"]);
                bytes = file.to_string().into();
            }
            all.insert(name, bytes);
        }
    }
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    for (n, line) in metrics.lines().enumerate() {
        let mut line: Value = serde_json::from_str(line).unwrap();
        timeless(&mut line);
        all.insert(format!("metrics {n:03}"), line.to_string().into());
    }
    for (n, record) in records(&out.join("tensorboard")).into_iter().enumerate() {
        all.insert(format!("tensorboard {n:03}"), record);
    }
    all
}

#[track_caller]
fn same(unbroken: &BTreeMap<String, Vec<u8>>, out: &Path, what: &str) {
    let now = outcome(out);
    let names = |all: &BTreeMap<String, Vec<u8>>| all.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&now), names(unbroken), "{what}");
    for (name, bytes) in &now {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let before = &unbroken[name];
        assert!(bytes == before, "{what}: {name} is {}, was {}", text(bytes), text(before));
    }
}

/// A line of metrics is due every so many steps and with the last one. Loss: the mean of the steps
/// since the last line, as the Trainer's; targets: theirs; rate and norm: the last step's.
fn lines_sum_up(events: &[Event], logging_steps: u64) {
    let mut since = Vec::new();
    for event in events {
        let Event::Step { step, logged } = event else { continue };
        since.push(step.clone());
        let Some(line) = logged else { continue };
        assert!(step.step.is_multiple_of(logging_steps) || since.len() < logging_steps as usize);
        let mean = since.iter().map(|s| s.loss).sum::<f64>() / since.len() as f64;
        assert_eq!(line.loss, mean);
        assert_eq!(line.target_tokens, since.iter().map(|s| s.target_tokens).sum::<usize>());
        assert_eq!((line.step, line.epoch, line.seconds), (step.step, step.epoch, step.seconds));
        assert_eq!((line.learning_rate, line.grad_norm), (step.learning_rate, step.grad_norm));
        since.clear();
    }
    let early = matches!(events.last(), Some(Event::Done(end)) if end.stopped_early);
    assert!(since.is_empty() || early, "{since:?} are in no line");
}

/// Stops a run behind each of its events in each way, and in the middle of each; returns the number
/// of its events.
fn stopped_everywhere(case: &Case) -> usize {
    let temp = tempfile::tempdir().unwrap();
    let path = |name: String| temp.path().join(name);
    // The unbroken run; what lies in its folder behind each event is what a kill leaves.
    let whole = path("whole".into());
    let mut run = case.open(&whole, Start::Fresh);
    copy(&whole, &path("left-0".into()));
    let mut events = Vec::new();
    while let Some(event) = block_on(run.next()).unwrap() {
        events.push(event);
        copy(&whole, &path(format!("left-{}", events.len())));
    }
    drop(run);
    lines_sum_up(&events, case.config.logging_steps);
    let (unbroken, n) = (outcome(&whole), events.len());
    let all: Vec<String> = events.iter().filter_map(named).collect();
    let names = |events: &[Event]| events.iter().filter_map(named).collect::<Vec<_>>();
    let resumed = |out: &Path, what: &str| {
        let rest = names(&finish(case.open(out, Start::Resume)));
        assert!(all.ends_with(&rest), "{what}: {rest:?} is no end of {all:?}");
        same(&unbroken, out, what);
    };
    // Asked to go on, it sees that it is over.
    assert_eq!(finish(case.open(&whole, Start::Resume)).len(), 1);
    same(&unbroken, &whole, "resumed behind its end");
    for (k, event) in events.iter().enumerate() {
        let what = format!("killed behind event {k}, before {event:?}");
        let left = path(format!("left-{k}"));
        let broken = path("broken".into());
        copy(&left, &broken);
        resumed(&broken, &what);
        // In the event: all of it is in the folder but its checkpoint.
        replace(&left, &broken);
        for entry in ["best", "adapter", "metrics.jsonl", "tensorboard"] {
            replace(&path(format!("left-{}", k + 1)).join(entry), &broken.join(entry));
        }
        resumed(&broken, &format!("killed in {event:?}"));
        fs::remove_dir_all(&broken).unwrap();
        let mut run = case.open(&broken, Start::Fresh);
        let before: Vec<Event> = (0..k).map(|_| block_on(run.next()).unwrap().unwrap()).collect();
        block_on(run.save()).unwrap();
        drop(run);
        let rest = finish(case.open(&broken, Start::Resume));
        let what = format!("interrupted before {event:?}");
        assert_eq!([names(&before), names(&rest)].concat(), all, "{what}");
        same(&unbroken, &broken, &what);
        fs::remove_dir_all(&broken).unwrap();
    }
    // Stopped behind every event there is, and every third time killed behind the next two.
    for kill in [usize::MAX, 3] {
        let (broken, mut at, mut turn) = (path(format!("broken-{kill}")), Vec::new(), 0);
        loop {
            let mut run = case.open(&broken, if turn > 0 { Start::Resume } else { Start::Fresh });
            turn += 1;
            if turn % kill == 0 {
                let lost = (0..2).map(|_| block_on(run.next()).unwrap());
                assert!(lost.count() == 2);
                continue;
            }
            let Some(event) = block_on(run.next()).unwrap() else { panic!("it never ended") };
            at.extend(named(&event));
            if matches!(event, Event::Done(_)) {
                break;
            }
            block_on(run.save()).unwrap();
        }
        // What a kill did not lose was not seen here.
        assert!(at == all || kill == 3, "stopped everywhere: {at:?} for {all:?}");
        same(&unbroken, &broken, &format!("stopped everywhere, killed every {kill} times"));
    }
    n
}

fn settings() -> TrainConfig {
    TrainConfig {
        rank: 2,
        batch_size: 2,
        gradient_accumulation_steps: 1,
        learning_rate: 5e-3,
        ..TrainConfig::default()
    }
}

#[track_caller]
fn check(held_out: bool, config: TrainConfig, wanted: usize) {
    let gpu = gpu();
    assert_eq!(stopped_everywhere(&Case { gpu, config, held_out }), wanted);
}

#[test]
fn patience_that_ends_a_run() {
    // Nothing gets better: the evaluation of step 0 is the best, and one or two more end the run.
    let config = TrainConfig {
        max_steps: Some(6),
        eval_steps: Some(1),
        save_steps: SaveSteps::Steps(100),
        early_stopping_patience: Some(2),
        learning_rate: 0.0,
        logging_steps: 2,
        ..settings()
    };
    check(true, config.clone(), 7);
    check(true, TrainConfig { early_stopping_patience: Some(1), logging_steps: 1, ..config }, 5);
}

#[test]
fn epochs_with_all_that_is_due_at_their_ends() {
    let config = TrainConfig {
        num_train_epochs: 2.5,
        gradient_accumulation_steps: 2,
        save_steps: SaveSteps::Epoch,
        save_total_limit: Some(1),
        logging_steps: 3,
        warmup_ratio: 0.3,
        lr_scheduler_type: SchedulerType::Cosine,
        weight_decay: 0.01,
        ..settings()
    };
    check(true, config, 13);
}

#[test]
fn steps_whose_events_fall_apart_and_together() {
    let config = TrainConfig {
        max_steps: Some(7),
        eval_steps: Some(2),
        save_steps: SaveSteps::Steps(3),
        save_total_limit: Some(2),
        logging_steps: 5,
        warmup_steps: 2,
        lora_dropout: 0.2,
        use_dora: true,
        target_modules: TargetModules::all_linear(),
        ..settings()
    };
    check(true, config, 16);
}

#[test]
fn packs_without_held_out_rows() {
    let config = TrainConfig {
        max_steps: Some(6),
        packing: true,
        max_length: Some(24),
        save_steps: SaveSteps::Steps(2),
        logging_steps: 4,
        ..settings()
    };
    check(false, config, 10);
}

#[test]
fn rows_of_like_length_and_eight_bits() {
    let config = TrainConfig {
        num_train_epochs: 1.75,
        group_by_length: true,
        eval_steps: Some(3),
        early_stopping_patience: Some(1),
        save_steps: SaveSteps::Epoch,
        logging_steps: 100,
        optim: Optim::Adamw8bit,
        rank: 64,
        ..settings()
    };
    check(true, config, 14);
}
