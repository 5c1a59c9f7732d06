//! `cargo xtask demo`: the main job in a few minutes, on a machine that has nothing but Rust and Python.
//!
//! SmolLM2-135M learns to price household products from 64 sample rows: a short QLoRA run through the same commands
//! that a user types, the loss before and after, and one answer with and without the adapter.

use crate::{Flags, adapter, models, sh};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

const TRAIN: &str = "assets/sample/train.jsonl";
const VALIDATION: &str = "assets/sample/validation.jsonl";

/// Enough steps to see the loss fall and few enough for two cores without a GPU.
const STEPS: usize = 16;

/// The rest of the run's settings; `cli.md`'s names.
#[rustfmt::skip]
const SETTINGS: [&str; 24] = [
    "--rank", "16",
    "--lora-alpha", "32",
    "--lora-dropout", "0",
    "--target-modules", "all-linear",
    "--batch-size", "2",
    "--gradient-accumulation-steps", "1",
    "--max-length", "96",
    "--learning-rate", "5e-4",
    "--lr-scheduler-type", "constant",
    "--warmup-steps", "0",
    "--logging-steps", "1",
    "--seed", "1",
];

/// `cargo xtask demo [--model MODEL]`.
pub fn command(flags: &Flags) -> Result<()> {
    let start = Instant::now();
    let adapter = adapter::ensure()?;
    println!("demo: computing on {}", adapter.about);
    let model = match flags.value("--model") {
        Some(model) => model.to_string(),
        None => {
            let dir = models::default_dir()?;
            models::ensure(&dir, models::Want::SmolLm2)?;
            dir.join("smollm2-135m").display().to_string()
        }
    };
    let target = sh::target_dir()?;
    println!("demo: building wgpu-lora (some minutes the first time)");
    sh::run(&mut sh::cargo(&["build", "--release", "--bin", "wgpu-lora"]))?;
    let binary = target.join("release").join(format!("wgpu-lora{}", std::env::consts::EXE_SUFFIX));
    let program = || {
        let mut command = Command::new(&binary);
        adapter.apply(command.current_dir(sh::root()));
        command
    };

    // Where cli.md says, wherever cargo builds.
    let demo = sh::root().join("target/demo");
    let run = demo.join("run");
    if run.exists() {
        fs::remove_dir_all(&run).with_context(|| run.display().to_string())?;
    }
    fs::create_dir_all(&demo).with_context(|| demo.display().to_string())?;
    println!(
        "\ndemo: {STEPS} QLoRA steps of two rows; the weights stay at 4 bit, only the adapter learns"
    );
    let steps = STEPS.to_string();
    let mut train = program();
    train.args(["train", "--json", "--model", &model, "--data", TRAIN, "--eval-data", VALIDATION]);
    train
        .arg("--out")
        .arg(&run)
        .args(["--max-steps", &steps, "--eval-steps", &steps])
        .args(SETTINGS);
    let losses = follow(&mut train)?;

    let prompt = first_prompt()?;
    println!("\ndemo: a product that the run has not seen\n{}", indented(&prompt.text));
    let ask = |with: Option<&Path>| {
        let mut generate = program();
        generate.args(["generate", "--json", "--model", &model, "--max-new-tokens", "8"]);
        generate.args(["--temperature", "0", "--prompt", &prompt.text]);
        if let Some(dir) = with {
            generate.arg("--adapter").arg(dir);
        }
        answer(&sh::output(&mut generate)?)
    };
    let before = ask(None)?;
    let after = ask(Some(&run.join("adapter")))?;

    println!("\ndemo: {}", losses.sentence()?);
    println!("demo: answer without the adapter  {before:?}");
    println!("demo: answer with the adapter     {after:?}");
    println!("demo: the price in the sample     {:?}", prompt.completion);
    println!("\nThe run      {}", run.display());
    println!("The adapter  {}   (loads in Hugging Face PEFT)", run.join("adapter").display());
    println!("The model    {model}");
    println!("The rows     {TRAIN}, {VALIDATION}");
    println!(
        "Time         {} s. Try your own rows: wgpu-lora train --help",
        start.elapsed().as_secs()
    );
    Ok(())
}

/// The losses that a run reports.
#[derive(Debug, Default, PartialEq)]
struct Losses {
    /// `(step, eval_loss)`, in order.
    eval: Vec<(u64, f64)>,
    /// Training loss, in order of steps.
    train: Vec<f64>,
}

impl Losses {
    fn add(&mut self, line: &str) {
        let Ok(row) = serde_json::from_str::<Value>(line) else { return };
        let step = row["step"].as_u64().unwrap_or(0);
        if let Some(loss) = row["eval_loss"].as_f64() {
            self.eval.push((step, loss));
        } else if let Some(loss) = row["loss"].as_f64() {
            self.train.push(loss);
        }
    }

    /// Before and after, on rows that were not trained on.
    fn sentence(&self) -> Result<String> {
        let last = self.eval.last().context("`train` reported no eval_loss")?;
        if let Some((0, before)) = self.eval.first() {
            return Ok(format!(
                "loss on the validation rows: {before:.3} before, {:.3} after {} steps",
                last.1, last.0
            ));
        }
        // No evaluation at step 0: the first step's loss is that of the untouched model too, on other rows.
        let first = self.train.first().context("`train` reported no loss")?;
        Ok(format!(
            "loss: {first:.3} at the first step, {:.3} on the validation rows after {} steps",
            last.1, last.0
        ))
    }
}

/// Runs `train --json` and prints a short line for each of its reports.
fn follow(train: &mut Command) -> Result<Losses> {
    use std::io::{BufRead, BufReader};
    eprintln!("$ {}", sh::shown(train));
    let mut child = train.stdout(Stdio::piped()).spawn().context("cannot start wgpu-lora")?;
    let mut losses = Losses::default();
    for line in BufReader::new(child.stdout.take().context("a pipe is missing")?).lines() {
        let line = line?;
        let (evals, steps) = (losses.eval.len(), losses.train.len());
        losses.add(&line);
        if losses.eval.len() > evals {
            let (step, loss) = losses.eval[evals];
            println!("  step {step:>3}  loss on the validation rows {loss:.3}");
        } else if losses.train.len() > steps {
            println!("  step {:>3}  loss {:.3}", steps + 1, losses.train[steps]);
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "`wgpu-lora train` failed: {status}");
    Ok(losses)
}

/// The text that `generate --json` ends with.
fn answer(output: &str) -> Result<String> {
    for line in output.lines().rev() {
        if let Ok(row) = serde_json::from_str::<Value>(line)
            && let Some(text) = row["text"].as_str()
        {
            return Ok(text.to_string());
        }
    }
    bail!("`wgpu-lora generate --json` printed no `text`:\n{output}")
}

struct Prompt {
    text: String,
    completion: String,
}

fn first_prompt() -> Result<Prompt> {
    let path = sh::root().join(VALIDATION);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let row: Value = serde_json::from_str(text.lines().next().unwrap_or_default())?;
    let field = |name: &str| row[name].as_str().map(String::from).context("a row lacks a field");
    Ok(Prompt { text: field("prompt")?, completion: field("completion")? })
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("  {line}").trim_end().to_string())
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_come_from_the_reports_of_train() {
        let mut losses = Losses::default();
        for line in [
            r#"{"step":0,"eval_loss":3.5}"#,
            r#"{"step":1,"epoch":0.1,"loss":3.25,"learning_rate":0.0005}"#,
            "not a report",
            r#"{"step":16,"eval_loss":1.5}"#,
        ] {
            losses.add(line);
        }
        assert_eq!((losses.eval.len(), losses.train.as_slice()), (2, [3.25].as_slice()));
        let sentence = losses.sentence().unwrap();
        assert_eq!(sentence, "loss on the validation rows: 3.500 before, 1.500 after 16 steps");
    }

    #[test]
    fn the_answer_is_the_last_text() {
        assert_eq!(answer("{\"text\":\"1\"}\n{\"text\":\"129\",\"tokens\":3}\n").unwrap(), "129");
        assert!(answer("nothing").is_err());
    }

    #[test]
    fn the_sample_rows_have_the_form_of_the_course() {
        for (path, rows) in [(TRAIN, 64), (VALIDATION, 20)] {
            let text = fs::read_to_string(sh::root().join(path)).unwrap();
            assert_eq!(text.lines().count(), rows);
            for line in text.lines() {
                let row: Value = serde_json::from_str(line).unwrap();
                let prompt = row["prompt"].as_str().unwrap();
                assert!(
                    prompt.starts_with("What does this cost to the nearest dollar?\n\nTitle: ")
                );
                assert!(prompt.ends_with("\n\nPrice is $"));
                let price = row["completion"].as_str().unwrap().strip_suffix(".00").unwrap();
                assert!((1..1000).contains(&price.parse::<u32>().unwrap()));
            }
        }
    }
}
