//! A folder with a model and rows, the program in it as several ranks, and what they left.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use wgpu_lora::train::checkpoint::decode_tensors;
use wgpu_lora::train::optimizer::Values;

use crate::tiny;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_wgpu-lora");

/// On a machine with fewer processors than ranks, of which a rank that waits leaves the others all.
pub const MPIRUN: &str = "--oversubscribe --bind-to none --mca mpi_yield_when_idle 1";

/// How long Open MPI's mpirun waits for ranks that are to end, twice. Docs have 60 seconds, in
/// which a step and a save end; where ranks fail there is nothing to wait for.
pub const TIMEOUT: &str = "OMPI_MCA_odls_base_sigkill_timeout";

/// Settings of every run here.
pub const TRAIN: &str = "train --json --model model --data train.jsonl --batch-size 2 --rank 4 \
                     --learning-rate 1e-3 --target-modules all-linear --max-steps 20";

/// `tiny_a` and rows of unequal length.
pub struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    pub fn new() -> Place {
        let place = Place { dir: tempfile::tempdir().unwrap() };
        tiny::write_model(&place.path("model"), "tiny_a");
        place.write_rows("train.jsonl", 0..29);
        place.write_rows("eval.jsonl", 50..57);
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write_rows(&self, name: &str, numbers: std::ops::Range<usize>) {
        let row = |i: usize| {
            let prompt = format!("{i}{} $", " or".repeat(i * 7 % 5));
            format!(
                "{}\n",
                serde_json::json!({"prompt": prompt, "completion": (i * 7 % 50).to_string()})
            )
        };
        std::fs::write(self.path(name), numbers.map(row).collect::<String>()).unwrap();
    }

    /// The program with these words, as so many ranks; 0: without mpirun.
    pub fn ranks(&self, ranks: usize, words: &str) -> Command {
        let mut command = match ranks {
            0 => Command::new(PROGRAM),
            _ => mpirun(ranks),
        };
        if ranks > 0 {
            command.arg(PROGRAM);
        }
        command.current_dir(self.dir.path()).args(words.split_whitespace());
        command.env_remove("WGPU_LORA_VARIANT");
        command
    }

    /// So many ranks of a shell's script, whose arguments are that command.
    pub fn under_shell(&self, ranks: usize, script: &str, of: &Command) -> Command {
        let mut command = mpirun(ranks);
        command.args(["sh", "-c", script, "sh"]).arg(of.get_program()).args(of.get_args());
        command.current_dir(self.dir.path()).env_remove("WGPU_LORA_VARIANT");
        command
    }

    /// `train` into `out`, with `more` words.
    pub fn train(&self, ranks: usize, out: &str, more: &str) -> Command {
        self.ranks(ranks, &format!("{TRAIN} --out {out} {more}"))
    }

    /// Returns when the run in `out` has made some.
    pub fn wait_for_steps(&self, out: &str) {
        let metrics = self.path(out).join("metrics.jsonl");
        while std::fs::metadata(&metrics).map_or(0, |file| file.len()) < 300 {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn is_trained(&self, ranks: usize, out: &str, more: &str) {
        succeeded(self.train(ranks, out, more).output().unwrap());
    }

    /// `is_trained`, with what is there of the run.
    pub fn goes_on(&self, ranks: usize, out: &str, more: &str) {
        let has_begun = self.path(out).join("run.toml").is_file();
        let resume = if has_begun { "--resume" } else { "" };
        self.is_trained(ranks, out, &format!("{more} {resume}"));
    }
}

fn mpirun(ranks: usize) -> Command {
    let mut command = Command::new("mpirun");
    command.args(MPIRUN.split_whitespace()).args(["-n", &ranks.to_string()]);
    // It asks root for these two.
    command.env("OMPI_ALLOW_RUN_AS_ROOT", "1").env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1");
    command.env(TIMEOUT, "60");
    command
}

pub fn succeeded(output: Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a run of these settings left behind a step, and what it said of each.
#[derive(PartialEq)]
pub struct Outcome {
    pub adapter: Vec<u8>,
    pub optimizer: Vec<u8>,
    /// Loss and norm of every step.
    pub steps: Vec<[f64; 2]>,
}

impl Outcome {
    pub fn of(run: &Path, step: u64) -> Outcome {
        let read = |name: &str| std::fs::read(run.join(name)).unwrap();
        let folder = format!("checkpoints/step-{step}");
        let metrics = String::from_utf8(read("metrics.jsonl")).unwrap();
        let number = |line: &Value, name: &str| line[name].as_f64();
        let numbers = |line: &str| {
            let line = serde_json::from_str(line).unwrap();
            Some([number(&line, "loss")?, number(&line, "grad_norm")?])
        };
        Outcome {
            adapter: read(&format!("{folder}/adapter_model.safetensors")),
            optimizer: read(&format!("{folder}/optimizer.safetensors")),
            steps: metrics.lines().filter_map(numbers).collect(),
        }
    }

    /// Panics unless both are the same run within the bounds of the golden tests: losses to 2e-5,
    /// norms to 1e-5, parameters to 1e-5.
    pub fn is_near(&self, other: &Outcome, what: &str) {
        assert_eq!(self.steps.len(), other.steps.len(), "{what}");
        for (i, (a, b)) in self.steps.iter().zip(&other.steps).enumerate() {
            let far = |at: usize| (a[at] / b[at] - 1.0).abs();
            assert!(far(0) < 2e-5 && far(1) < 1e-5, "{what}: step {}: {a:?}, {b:?}", i + 1);
        }
        let (a, b) = (floats(&self.adapter), floats(&other.adapter));
        for (name, values) in &a {
            let pairs = values.iter().zip(&b[name]);
            let most = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(most < 1e-5, "{what}: {name} differs by {most:e}");
        }
    }

    /// The norm of the difference of the first moments, relative to theirs: behind the first step
    /// that is the difference of gradients.
    pub fn moments_differ_by(&self, other: &Outcome) -> f64 {
        let (a, b) = (floats(&self.optimizer), floats(&other.optimizer));
        let (mut difference, mut norm) = (0.0, 0.0);
        for (name, values) in a.iter().filter(|(name, _)| name.starts_with("first_moment.")) {
            for (a, b) in values.iter().zip(&b[name]) {
                difference += f64::from(a - b).powi(2);
                norm += f64::from(*a).powi(2);
            }
        }
        (difference / norm).sqrt()
    }
}

fn floats(file: &[u8]) -> BTreeMap<String, Vec<f32>> {
    let tensors = decode_tensors(file, Path::new("tensors")).unwrap().into_iter();
    let floats = tensors.filter_map(|tensor| match tensor.data {
        Values::F32(values) => Some((tensor.name, values)),
        Values::U8(_) => None,
    });
    floats.collect()
}
