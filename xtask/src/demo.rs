//! `cargo xtask demo`: the whole job in minutes, on a machine that has nothing but Rust.
//!
//! A small model learns what diamonds cost, through the same commands that a user types: prepare,
//! evaluate, train, evaluate again, predict. The report in `target/demo` shows what the training
//! did.

use crate::{Flags, adapter, sh};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// The embedded model and data; see `assets/README.md`.
const MODEL: &str = "assets/model";
const PRODUCTS: &str = "assets/diamonds/diamonds.csv";

/// Test rows are about 200, as many as the course judges with.
const SPLIT: &str = "0.9,0.02,0.08";

/// Of the preset `pricer-demo`.
const BATCH: u64 = 8;
const EPOCHS: u64 = 3;
/// Tokens of an answer, about: a price and the end.
const TARGETS: u64 = 4;

/// Products that nobody has a price for.
const QUESTIONS: [&str; 3] = [
    "Title: Diamond, ideal cut, clarity VS1, colour G, 0.30 carat",
    "Title: Diamond, premium cut, clarity VS2, colour E, 0.41 carat",
    "Title: Diamond, good cut, clarity SI2, colour J, 0.32 carat",
];

struct Demo {
    adapter: adapter::Adapter,
    binary: PathBuf,
    model: String,
    folder: PathBuf,
}

/// `cargo xtask demo [--model MODEL]`.
pub fn command(flags: &Flags) -> Result<()> {
    let adapter = adapter::ensure()?;
    println!("demo: computing on {}", adapter.about);
    println!("demo: building wgpu-lora (some minutes the first time)");
    sh::run(&mut sh::cargo(&["build", "--release", "--bin", "wgpu-lora"]))?;
    let binary = format!("wgpu-lora{}", std::env::consts::EXE_SUFFIX);
    let model = flags.value("--model").unwrap_or(MODEL).to_string();
    // Where cli.md says, wherever cargo builds.
    let folder = sh::root().join("target/demo");
    let binary = sh::target_dir()?.join("release").join(binary);
    Demo { adapter, binary, model, folder }.run()
}

impl Demo {
    fn run(&self) -> Result<()> {
        let start = Instant::now();
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        }
        fs::create_dir_all(&self.folder).with_context(|| self.folder.display().to_string())?;
        let (data, run) = (self.path("data"), self.path("run"));
        let (train, test) = (format!("{data}/train.jsonl"), format!("{data}/test.jsonl"));

        say("1. prepare: products with prices become questions and answers");
        self.shown(&[
            "prepare",
            PRODUCTS,
            "--out",
            &data,
            "--model",
            &self.model,
            "--split",
            SPLIT,
        ])?;
        let prepared = self.report("data/prepare.json")?;
        self.foretell(&prepared)?;
        say("2. evaluate: what does the untrained model guess?");
        let before = self.path("before");
        self.quiet(&[
            "evaluate",
            "-q",
            "--model",
            &self.model,
            "--data",
            &test,
            "--train-data",
            &train,
            "--out",
            &before,
        ])?;
        say("3. train: the weights stay at 4 bits, a LoRA adapter learns");
        let longest = prepared["longest_row"].to_string();
        self.shown(&[
            "train",
            "--preset",
            "pricer-demo",
            "--model",
            &self.model,
            "--data",
            &train,
            "--out",
            &run,
            "--max-length",
            &longest,
        ])?;
        say("4. evaluate again: the same products, both models, and guesses without any model");
        let adapter = format!("{run}/adapter");
        let out = self.path("");
        self.quiet(&[
            "evaluate",
            "-q",
            "--model",
            &self.model,
            "--adapter",
            &adapter,
            "--data",
            &test,
            "--train-data",
            &train,
            "--out",
            &out,
        ])?;
        say("5. predict: three products that have no price");
        for question in QUESTIONS {
            println!("\n{question}");
            self.shown(&[
                "predict",
                "-q",
                "--model",
                &self.model,
                "--adapter",
                &adapter,
                question,
            ])?;
        }
        println!("\n{}", self.verdict()?);
        println!("Report       {}   (open it in a browser)", self.path("report.html"));
        println!("Picture      {}", self.path("report.png"));
        println!("Numbers      {}", self.path("report.json"));
        println!("Run          {run}");
        println!("Adapter      {adapter}   (loads in Hugging Face PEFT)");
        println!("Model, data  {}, {PRODUCTS}", self.model);
        println!(
            "Time         {} s. Your own products: wgpu-lora prepare --help",
            start.elapsed().as_secs()
        );
        Ok(())
    }

    /// Says how long all of it will take here, by steps that are timed.
    fn foretell(&self, prepared: &Value) -> Result<()> {
        let (rows, longest) = (&prepared["train"], prepared["longest_row"].to_string());
        let mut step = self.program(&["bench", "step", "--json", "-q", "--model", &self.model]);
        step.args(["--batch", &BATCH.to_string(), "--seq", &longest, "--steps", "2"]);
        step.args(["--targets", &TARGETS.to_string()]);
        let measured: Value = serde_json::from_str(&sh::output(&mut step)?)?;
        let (Some(rows), Some(ms)) = (rows.as_u64(), measured["ms"].as_f64()) else {
            bail!("no rows in data/prepare.json, or no time of a step");
        };
        let steps = EPOCHS * rows.div_ceil(BATCH);
        println!("\ndemo: {}", forecast(steps, ms / 1e3));
        Ok(())
    }

    fn path(&self, name: &str) -> String {
        let path = if name.is_empty() { self.folder.clone() } else { self.folder.join(name) };
        path.display().to_string()
    }

    fn program(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        self.adapter.apply(command.current_dir(sh::root()));
        command.args(args);
        command
    }

    /// Runs a command whose words are for the reader.
    fn shown(&self, args: &[&str]) -> Result<()> {
        sh::run(&mut self.program(args))
    }

    /// Runs an evaluation and prints its end: a line per product would bury the rest.
    fn quiet(&self, args: &[&str]) -> Result<()> {
        let mut command = self.program(args);
        eprintln!("$ {}", sh::shown(&command));
        let output = sh::output(&mut command)?;
        let (lines, table) = match output.split_once("\nmean absolute error") {
            Some((lines, table)) => (lines, format!("mean absolute error{table}")),
            None => ("", output.clone()),
        };
        let lines: Vec<&str> = lines.lines().collect();
        let some = lines.len().saturating_sub(5);
        println!("{}\n  … {some} more\n{table}", lines[..lines.len().min(5)].join("\n"));
        Ok(())
    }

    fn report(&self, name: &str) -> Result<Value> {
        let path = self.folder.join(name);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        serde_json::from_str(&text).with_context(|| path.display().to_string())
    }

    fn verdict(&self) -> Result<String> {
        sentence(&self.report("report.json")?)
    }
}

/// Beside the steps there are two evaluations and three answers: a tenth more.
fn forecast(steps: u64, seconds: f64) -> String {
    let whole = steps as f64 * seconds * 1.1;
    let time = match (whole / 60.0).round() as u64 {
        0 | 1 => "about a minute".to_string(),
        minutes => format!("about {minutes} minutes"),
    };
    format!(
        "all of it will take {time} here: {steps} steps of {seconds:.2} s, and what is around them"
    )
}

fn say(text: &str) {
    println!("\ndemo: {text}");
}

/// What the training did, in shares of the simplest guess's error.
fn sentence(report: &Value) -> Result<String> {
    let models = &report["models"];
    let number = |model: &str, key: &str| match models[model][key].as_f64() {
        Some(value) => Ok(value),
        None => bail!("report.json holds no models.{model}.{key}"),
    };
    let constant = number("constant_median", "mae")?;
    let share = |value: f64| 100.0 * value / constant;
    let (base, base_median) = (number("base", "mae")?, number("base", "mae_median")?);
    let (greedy, median) = (number("fine_tuned", "mae")?, number("fine_tuned", "mae_median")?);
    Ok(format!(
        "Guessing the median price for everything misses by ${constant:.2} on average.\n\
         Before training: ${base:.2} ({:.0} % of that) by the written answer, ${base_median:.2} ({:.0} %) by the distribution's median.\n\
         After training:  ${greedy:.2} ({:.0} %) by the written answer, ${median:.2} ({:.0} %) by the distribution's median.",
        share(base),
        share(base_median),
        share(greedy),
        share(median)
    ))
}

/// What the demo and its test need of the embedded files.
#[cfg(test)]
fn embedded(name: &str) -> PathBuf {
    sh::root().join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_in_shares_of_the_constants_error() {
        let report = serde_json::json!({"models": {
            "constant_median": {"mae": 100.0}, "base": {"mae": 250.0, "mae_median": 120.0},
            "fine_tuned": {"mae": 70.0, "mae_median": 55.0},
        }});
        let text = sentence(&report).unwrap();
        for part in ["$100.00", "$250.00 (250 %", "$70.00 (70 %)", "$55.00 (55 %)"] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(sentence(&serde_json::json!({})).is_err());
    }

    #[test]
    fn the_forecast_is_in_minutes() {
        assert!(forecast(834, 0.1).contains("about 2 minutes here: 834 steps of 0.10 s"));
        assert!(forecast(10, 0.5).contains("about a minute"));
    }

    #[test]
    fn the_questions_are_in_words_that_the_products_use() {
        let products = fs::read_to_string(embedded(PRODUCTS)).unwrap();
        for question in QUESTIONS {
            let title = question.strip_prefix("Title: ").unwrap();
            let kind = title.split(", clarity").next().unwrap();
            assert!(products.contains(kind), "{kind}");
        }
        assert!(embedded(MODEL).join("tokenizer.json").exists());
    }
}
