//! `train`: settings, data, model, and then the run's events.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result, bail};
use indicatif::ProgressBar;

use super::args::{Settings, TrainArgs};
use super::hub_data;
use super::model::{Files, Session};
use super::plan;
use super::plot;
use crate::Error;
use crate::data::{Dataset, DatasetReport};
use crate::format::{AdapterFile, Moment, Tokenizer};
use crate::gpu::Tuning;
use crate::model::{LoadOptions, MemoryPlan};
use crate::pricer::preset::{PRESETS, preset};
use crate::report::series::Series;
use crate::train::checkpoint;
use crate::train::config::TrainConfig;
use crate::train::event::{Event, StepLine};
use crate::train::memory::{Limits, RunPlan};
use crate::train::plan::pass_of;
use crate::train::run::{Run, recorded_variants};

/// Splits of a data set of the hub that `--data` and `--eval-data` mean, the first that is there.
pub(super) const TRAINING: &[&str] = &["train"];
pub(super) const HELD_OUT: &[&str] = &["validation", "test"];

/// Flags over `--config` over (`run.toml` of the run that is resumed, or `--preset`) over defaults.
fn settings(args: &TrainArgs) -> Result<TrainConfig> {
    let config = merged(args)?;
    config.validate_with_files()?;
    Ok(config)
}

/// The same, not looked at yet. The settings of an adapter to go on from lie above the defaults.
pub(super) fn merged(args: &TrainArgs) -> Result<TrainConfig> {
    let config = over_defaults(args, &|config| Ok(config))?;
    match &config.init_adapter {
        None => Ok(config),
        // The run that is resumed has them already.
        Some(_) if args.resume && args.out.join("run.toml").exists() => Ok(config),
        Some(folder) => {
            let file = AdapterFile::load(folder).context("--init-adapter")?;
            let config = over_defaults(args, &|config| Ok(config.with_adapter(&file)?))?;
            config.check_adapter(&file)?;
            Ok(config)
        }
    }
}

fn over_defaults(
    args: &TrainArgs,
    adapter: &dyn Fn(TrainConfig) -> Result<TrainConfig>,
) -> Result<TrainConfig> {
    let mut config = TrainConfig::default();
    if let Some(name) = &args.preset {
        let known = || {
            Error::invalid(format!("--preset {name}"), format!("there is {}", PRESETS.join(", ")))
        };
        config = preset(name).ok_or_else(known)?;
    }
    config = adapter(config)?;
    let read = |config: &TrainConfig, path: &Path| -> Result<TrainConfig> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
        Ok(config.overlay(&text, &name)?)
    };
    let run_toml = args.out.join("run.toml");
    if args.resume && run_toml.exists() {
        config = read(&config, &run_toml)?;
    }
    if let Some(path) = &args.config {
        config = read(&config, path)?;
    }
    over(&config, &args.settings)
}

fn over(config: &TrainConfig, flags: &Settings) -> Result<TrainConfig> {
    let mut table = toml::Table::try_from(flags).context("command line")?;
    // A number of steps, or a word.
    if let Some(toml::Value::String(text)) = table.get("save_steps")
        && let Ok(steps) = text.parse::<i64>()
    {
        table.insert("save_steps".into(), steps.into());
    }
    let mut config = config.clone();
    // The one that is typed wins over the one in a file.
    if table.contains_key("num_train_epochs") {
        config.max_steps = None;
    }
    if table.contains_key("warmup_ratio") {
        config.warmup_steps = 0;
    }
    Ok(config.overlay_table(table, "command line")?)
}

/// The preset's values, and which of them something else replaced.
fn say_preset(session: &Session, name: &str, config: &TrainConfig) -> Result<()> {
    let Some(preset) = preset(name) else { return Ok(()) };
    session.printer.note(format!("preset {name}"));
    let (given, effective) = (preset.to_toml()?, config.to_toml()?);
    let given: toml::Table = given.parse().context("preset")?;
    let effective: toml::Table = effective.parse().context("settings")?;
    for (key, value) in &effective {
        if ["model", "data", "eval_data"].contains(&key.as_str()) {
            continue;
        }
        let instead = given.get(key).filter(|preset| *preset != value);
        let instead =
            instead.map_or(String::new(), |preset| format!("   (the preset's: {preset})"));
        session.printer.note(format!("  {key} = {value}{instead}"));
    }
    Ok(())
}

/// What became of the rows.
pub(super) fn describe(session: &Session, what: &str, report: DatasetReport, max_length: usize) {
    let printer = &session.printer;
    printer.note(format!(
        "{what}: {} rows, {} tokens, {} of them targets",
        report.rows_kept, report.tokens, report.target_tokens
    ));
    if report.rows_cut > 0 {
        printer.warn(format!(
            "{what}: {} of {} rows are cut to --max-length {max_length} (the longest has {} tokens); {} of them \
             lose the end of their answer",
            report.rows_cut, report.rows_read, report.longest, report.rows_answer_cut
        ));
    }
    if report.rows_without_target > 0 {
        printer.warn(format!(
            "{what}: {} of {} rows are left out: no target token within --max-length {max_length}",
            report.rows_without_target, report.rows_read
        ));
    }
    if report.rows_prompt_mismatch > 0 {
        printer.warn(format!(
            "{what}: in {} of {} rows the prompt's tokens are not how the row's begin (a prompt that \
             ends in a space?); the loss begins at the first that differs, but answers will begin behind \
             the prompt's own tokens",
            report.rows_prompt_mismatch, report.rows_read
        ));
    }
    if report.rows_bos_twice > 0 {
        printer.warn(format!(
            "{what}: {} of {} rows begin with two BOS: the text has one, and the tokenizer puts one in front; \
             take it out of the text",
            report.rows_bos_twice, report.rows_read
        ));
    }
    if report.rows_without_eos > 0 {
        printer.warn(format!(
            "{what}: nothing ends {} of {} rows: this model has no EOS, and answers will not end; \
             name its `eos_token` in tokenizer_config.json",
            report.rows_without_eos, report.rows_read
        ));
    }
}

/// Which columns no row is made of.
fn unread(session: &Session, what: &str, rows: &Dataset) {
    let columns = Vec::from_iter(rows.unread_columns()).join(", ");
    if !columns.is_empty() {
        session.printer.note(format!("{what}: columns that are not read: {columns}"));
    }
}

pub(super) async fn run(session: &Session, args: &TrainArgs) -> Result<()> {
    let printer = &session.printer;
    let config = settings(args)?;
    if let Some(name) = &args.preset {
        say_preset(session, name, &config)?;
    }
    let recorded = recorded_variants(&args.out, args.resume)?;
    let files = Files::open(&config.model)?;
    let mut config = config.for_model(&files.config);
    let mut tokenizer = files.tokenizer()?;
    date_of_templates(&mut tokenizer, &mut config);
    let mut options = config.dataset_options()?;
    // The disk of the run, not one that may be the system's memory.
    let folder = std::path::absolute(&args.out).unwrap_or_default();
    options.spool = folder.ancestors().find(|folder| folder.is_dir()).map(Path::to_path_buf);
    let rows = Dataset::open(&hub_data::files(&config.data, TRAINING)?, &tokenizer, &options)?;
    describe(session, "training data", rows.report(), config.row_length());
    unread(session, "training data", &rows);
    let held_out = match &config.eval_data {
        None => None,
        Some(data) => {
            let files = hub_data::files(&[data], HELD_OUT)?;
            let held_out = Dataset::open(&files, &tokenizer, &options)?;
            describe(session, "evaluation data", held_out.report(), config.row_length());
            unread(session, "evaluation data", &held_out);
            Some(held_out)
        }
    };
    let gpu = match recorded {
        Some((policy, choices)) => {
            session.open(args.inspect, policy, Tuning::Given(choices)).await?
        }
        None => session.tuned_gpu(args.inspect).await?,
    };
    let caps = gpu.caps();
    printer.note(format!(
        "device: {} ({}), {} kernel variants",
        caps.adapter.name,
        caps.adapter.backend,
        caps.origin()
    ));
    let quant = plan::quant(&config);
    let positions = positions(&rows, held_out.as_ref(), &config);
    let options = LoadOptions { quant, max_positions: positions };
    let weights = MemoryPlan::weights(&files.config, Some(&files.checkpoint), options)?;
    let pass = pass_of(&rows, held_out.as_ref(), &config);
    let memory = RunPlan::new(&weights, &files.config, &config, pass, Limits::of(&gpu))?;
    printer.note(plan::table(&memory));
    memory.check()?;
    let model = session.load(&gpu, &files, quant, positions).await?;
    let mut run = Run::new(model, rows, held_out, config, &args.out, args.resume).await?;
    run.notes().iter().for_each(|note| printer.warn(note));
    begin(session, &run)?;
    let result = follow(session, args, &mut run).await;
    session.finish_profile(&gpu, args.inspect);
    result
}

/// A template that writes the date writes the same one as long as the run lives: the date is one of its settings.
pub(super) fn date_of_templates(tokenizer: &mut Tokenizer, config: &mut TrainConfig) {
    if tokenizer.asks_for_date() {
        tokenizer.set_date(*config.template_date.get_or_insert_with(Moment::now));
    }
}

/// Positions that the model must know: the longest row.
pub(super) fn positions(rows: &Dataset, held_out: Option<&Dataset>, config: &TrainConfig) -> usize {
    let longest = [Some(rows), held_out].into_iter().flatten().map(|d| d.report().longest);
    longest.max().unwrap_or(1).min(config.row_length())
}

fn begin(session: &Session, run: &Run) -> Result<()> {
    let printer = &session.printer;
    let trainable = run.model().trainable_parameters();
    match printer.is_json() {
        true => printer.note(trainable),
        false => printer.line(trainable)?,
    }
    if run.step() > 0 {
        printer.note(format!("resuming after step {} of {}", run.step(), run.total_steps()));
    }
    Ok(())
}

/// Counts Ctrl-C; the second one ends the process at once.
fn interruptions() -> Arc<AtomicUsize> {
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    // Fails only if there is a handler already; then Ctrl-C just ends the process.
    let _ = ctrlc::set_handler(move || {
        if counter.fetch_add(1, Ordering::SeqCst) > 0 {
            std::process::exit(1);
        }
    });
    count
}

const TEMPLATE: &str = "{pos:>6}/{len} {wide_bar} {msg} ETA {eta:>4}";
const PLOT_TEMPLATE: &str = "{prefix}\n{pos:>6}/{len} {wide_bar} {msg} ETA {eta:>4}";

async fn follow(session: &Session, args: &TrainArgs, run: &mut Run) -> Result<()> {
    let printer = &session.printer;
    let interrupted = interruptions();
    let template = if args.plot { PLOT_TEMPLATE } else { TEMPLATE };
    let bar = printer.bar(run.total_steps(), template);
    // What a run that is resumed has drawn so far.
    let mut series = Series::read(&args.out.join("metrics.jsonl")).unwrap_or_default();
    bar.set_position(run.step());
    bar.reset_eta();
    let (first, clock) = (run.step(), std::time::Instant::now());
    let say = |bar: &ProgressBar, text: String| {
        if printer.shows_bars() {
            bar.suspend(|| printer.note(&text));
        } else {
            printer.note(text);
        }
    };
    let mut clamped = false;
    while let Some(event) = next(run, args).await? {
        let over = matches!(event, Event::Done(_));
        match event {
            Event::Step { step, logged } => {
                if step.clamped > 0 && !std::mem::replace(&mut clamped, true) {
                    bar.suspend(|| printer.warn(beyond_f16(&step)));
                }
                bar.set_position(step.step);
                bar.set_message(numbers(&step));
                if let Some(line) = logged {
                    draw(args, &bar, &mut series, &line);
                    printer.object(&line)?;
                    if !printer.shows_bars() {
                        let done = (line.step - first) as f64;
                        let left = (run.total_steps() - line.step) as f64;
                        let eta = clock.elapsed().as_secs_f64() / done * left;
                        printer.note(format!(
                            "step {}/{}  {}  ETA {}",
                            line.step,
                            run.total_steps(),
                            numbers(&line),
                            indicatif::HumanDuration(std::time::Duration::from_secs_f64(eta))
                        ));
                    }
                }
            }
            Event::Eval(line) => {
                draw(args, &bar, &mut series, &line);
                printer.object(&line)?;
                let best = if line.best { "  (best so far)" } else { "" };
                say(&bar, format!("step {}  eval_loss {:.4}{best}", line.step, line.eval_loss));
            }
            Event::Saved(path) => say(&bar, format!("saved {}", path.display())),
            Event::Done(summary) => {
                bar.finish_and_clear();
                if args.plot {
                    printer.note(plot::terminal(&series, 78, 16));
                }
                let best = match summary.best {
                    Some((loss, step)) => format!(", best eval_loss {loss:.4} at step {step}"),
                    None => String::new(),
                };
                let early = if summary.stopped_early { " (stopped early)" } else { "" };
                printer.line(format!(
                    "done: {} steps{early} in {:.1} s{best}; adapter in {}",
                    summary.steps,
                    summary.seconds,
                    summary.adapter.display()
                ))?;
            }
        }
        if interrupted.load(Ordering::SeqCst) > 0 && !over {
            bar.finish_and_clear();
            let path = run.save().await?;
            bail!(
                "interrupted after step {} of {}; saved {}. Go on with: wgpu-lora train --out {} --resume",
                run.step(),
                run.total_steps(),
                path.display(),
                args.out.display()
            );
        }
    }
    Ok(())
}

/// Said once in a run; metrics.jsonl has every step's number.
fn beyond_f16(line: &StepLine) -> String {
    format!(
        "step {}: {} activations lie beyond ±65504 and were clamped, so the gradients are not exact; train with \
         --precision f32 (`clamped` in metrics.jsonl counts them)",
        line.step, line.clamped
    )
}

/// Adds a line of metrics to the chart above the bar.
fn draw(args: &TrainArgs, bar: &ProgressBar, series: &mut Series, line: &impl serde::Serialize) {
    if let (true, Ok(value)) = (args.plot, serde_json::to_value(line)) {
        series.push(&value);
        bar.set_prefix(plot::terminal(series, 78, 16));
    }
}

/// [`Run::next`]; where it fails, what is left of the run and how to go on with it.
async fn next(run: &mut Run, args: &TrainArgs) -> Result<Option<Event>> {
    let error = match run.next().await {
        Ok(event) => return Ok(event),
        Err(error) => error,
    };
    let out = args.out.display();
    let again = format!("go on with: wgpu-lora train --out {out} --resume");
    let saved = checkpoint::list(&args.out).unwrap_or_default().pop();
    let advice = match (&error, saved) {
        // The same rows would give the same numbers.
        (Error::NonFinite { .. }, _) => return Err(error.into()),
        (_, Some((step, _))) => format!("step {step} is saved; {again}"),
        (_, None) => format!("no step was saved yet; to start over, {again}"),
    };
    bail!("after step {} of {}: {error}. {advice}", run.step(), run.total_steps())
}

fn numbers(line: &StepLine) -> String {
    format!(
        "loss {:.4}  lr {:.2e}  |g| {:.3}  {:.0} tok/s",
        line.loss, line.learning_rate, line.grad_norm, line.tokens_per_second
    )
}
