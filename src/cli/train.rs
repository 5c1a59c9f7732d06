//! `train`: settings, data, model, and then the run's events.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use super::args::Inspect;
use super::beside;
use super::plan;
use super::plot;
use super::ranks::Interrupted;
use super::rows::Rows;
use super::samples::Samples;
use super::session::Session;
use super::settings::SettingsArgs;
use super::training_texts;
use crate::Error;
use crate::format::RowFormat;
use crate::gpu::Tuning;
use crate::model::{LoadOptions, MemoryPlan};
use crate::pricer::blend::{PRICER_FILE, Pricing};
use crate::pricer::familiar::TEXTS_FILE;
use crate::pricer::neighbours::INDEX_FILE;
use crate::pricer::preset::preset as preset_named;
use crate::report::series::Series;
use crate::train::checkpoint;
use crate::train::config::TrainConfig;
use crate::train::event::{Event, StepLine};
use crate::train::memory::{Limits, RunPlan};
use crate::train::ranks::{any, broadcast_text};
use crate::train::run::{Run, Start, recorded_variants};

#[derive(Debug, Args)]
pub(super) struct TrainArgs {
    /// The folder of the run.
    #[arg(long, value_name = "RUNDIR")]
    out: PathBuf,
    /// Go on with the run in RUNDIR, after its last checkpoint.
    #[arg(long)]
    resume: bool,
    /// Draw the loss in the terminal as it falls.
    #[arg(long)]
    plot: bool,
    #[command(flatten)]
    inspect: Inspect,
    #[command(flatten)]
    settings: SettingsArgs,
}

/// The preset's values, and which of them something else replaced.
fn say_preset(session: &Session, name: &str, config: &TrainConfig) -> Result<()> {
    let Some(preset) = preset_named(name) else { return Ok(()) };
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

pub(super) async fn run(session: &Session, args: &TrainArgs) -> Result<()> {
    let printer = &session.printer;
    let ranks = &*session.ranks;
    let first = ranks.rank() == 0;
    if first && args.resume && !args.out.join("run.toml").is_file() {
        let why = "holds no run to go on with (no run.toml); leave --resume out to begin one";
        return Err(Error::invalid(args.out.display(), why).into());
    }
    // Of the settings' files, too, only rank 0 need have them.
    let config = match first {
        true => args.settings.merged(args.resume.then_some(&args.out))?,
        false => TrainConfig::default(),
    };
    if first {
        args.settings.check_for_ranks(&config, ranks.size())?;
        config.check_ranks(ranks.size())?;
    }
    let text = broadcast_text(ranks, config.to_toml()?)?;
    let config = TrainConfig::from_toml(&text, "settings")?;
    config.validate_with_files()?;
    if let Some(name) = &args.settings.preset {
        say_preset(session, name, &config)?;
    }
    let start = if args.resume { Start::Resume } else { Start::Fresh };
    let recorded = if first { recorded_variants(&args.out, start)? } else { None };
    let files = session.files(&config.model)?;
    let model_name = config.model.clone();
    let mut config = config.for_model(&files.config);
    let mut files_beside = if first { neighbours(session, args, &mut config)? } else { Vec::new() };
    let length = broadcast_text(ranks, config.row_length().to_string())?;
    config.max_length = Some(length.parse().context("max_length")?);
    let rows = Rows::open(session, &mut config, files.tokenizer()?, Some(&args.out))?;
    if first && rows.training.row_format() == Some(RowFormat::PromptCompletion) {
        let columns = config.dataset_options()?.columns;
        let held_out = rows.held_out.as_ref().filter(|_| config.eval_split.is_some());
        let all = [Some(&rows.training), held_out].into_iter().flatten();
        let read = all.map(|rows| rows.report().rows_read).sum();
        if let Some(texts) = training_texts::learned(&config.data, &columns, read)? {
            printer.note(format!(
                "{TEXTS_FILE} goes with the adapter: which words stand behind which in its training texts, by which it \
                 warns of foreign ones; whoever gets it can read them"
            ));
            files_beside.push(texts);
        }
    }
    let samples = config.sample_prompts.as_deref().filter(|_| first);
    let samples =
        samples.map(|file| Samples::read(file, &args.out, files.tokenizer()?)).transpose()?;
    let opened = async {
        match recorded {
            Some((policy, choices)) => {
                session.open(args.inspect, policy, Tuning::Given(choices)).await
            }
            None => session.tuned_gpu(args.inspect).await,
        }
    };
    let gpu = session.gpu_of_rank(args.inspect, opened).await?;
    let caps = gpu.caps();
    printer.note(format!(
        "device: {} ({}), {} kernel variants",
        caps.adapter.name,
        caps.adapter.backend,
        caps.origin()
    ));
    let quant = config.quant;
    let of_samples = samples.as_ref().map(Samples::positions).transpose()?;
    let positions = rows.positions(&config).max(of_samples.unwrap_or(0));
    let options = LoadOptions { quant, max_positions: positions };
    let weights = MemoryPlan::weights(&files.config, Some(&files.checkpoint), options)?;
    let largest = rows.largest_batch(&config);
    let memory = RunPlan::new(&weights, &files.config, &config, largest, Limits::of(&gpu))?;
    printer.note(plan::table(&memory));
    memory.check()?;
    let model = session.load(&gpu, &files, quant, positions).await?;
    let Rows { training, held_out } = rows;
    let (ranks, out) = (session.ranks.clone(), &args.out);
    let mut run = Run::on_ranks(ranks, model, training, held_out, config, out, start).await?;
    run.keep_beside(files_beside);
    run.notes().iter().for_each(|note| printer.warn(note));
    begin(session, &run)?;
    samples.as_ref().map(|samples| samples.cut_behind(run.step())).transpose()?;
    let result = follow(session, args, &mut run, samples.as_ref()).await;
    session.finish_profile(&gpu, args.inspect);
    result?;
    printer.note(next_command(&run, &model_name, &args.out));
    Ok(())
}

/// How to ask the adapter that was trained.
fn next_command(run: &Run, model: &str, out: &Path) -> String {
    let quoted = |text: &str| match text.contains(char::is_whitespace) {
        true => format!("\"{text}\""),
        false => text.to_owned(),
    };
    let (model, out) = (quoted(model), quoted(&out.display().to_string()));
    match run.note().rows {
        Some(RowFormat::Messages) => {
            format!("next: wgpu-lora chat --model {model} --adapter {out}")
        }
        _ => format!("next: wgpu-lora generate --model {model} --adapter {out} --prompt \"…\""),
    }
}

/// The index of neighbours beside the training rows, and the note that the adapter needs it: they
/// go with the adapter. Rows with neighbours are longer than a preset foresees; none is cut.
fn neighbours(
    session: &Session,
    args: &TrainArgs,
    config: &mut TrainConfig,
) -> Result<Vec<(String, Vec<u8>)>> {
    let printer = &session.printer;
    for data in &config.data {
        let folder = Path::new(data).parent().unwrap_or(Path::new(""));
        let Some((settings, products)) = beside::index_settings(folder)? else { continue };
        let Some(bytes) = beside::index_bytes(folder)? else { continue };
        printer.note(format!(
            "{INDEX_FILE} goes with the adapter: it carries texts and prices of {products} training products, which \
             whoever gets the adapter can read"
        ));
        let (longest, preset) = (settings.longest_row, args.settings.preset.as_deref());
        if config.row_length() < longest {
            let foreseen = preset.and_then(preset_named).and_then(|preset| preset.max_length);
            if config.max_length != foreseen {
                let why = format!(
                    "{} cuts rows, whose neighbours make them up to {longest} tokens long, and they would lose their \
                     prices; give --max-length {longest}",
                    config.row_length()
                );
                return Err(Error::invalid("--max-length", why).into());
            }
            printer.note(format!("max_length = {longest}, for rows with neighbours"));
            config.max_length = Some(longest);
        }
        let pricing = Pricing { neighbours: Some(settings.neighbours), ..Pricing::default() };
        return Ok(vec![
            (INDEX_FILE.to_owned(), bytes),
            (PRICER_FILE.to_owned(), pricing.to_json().into_bytes()),
        ]);
    }
    Ok(Vec::new())
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

/// Whether the user or the cluster has asked for an end: by Ctrl-C, by SIGTERM, or by SIGUSR1,
/// which launchers pass on. A second Ctrl-C ends the process at once.
fn interruptions() -> Arc<AtomicBool> {
    let asked = Arc::new(AtomicBool::new(false));
    // They fail only where the system does not know the signal.
    let _ = flag::register_conditional_shutdown(SIGINT, 1, asked.clone());
    let _ = flag::register(SIGINT, asked.clone());
    let _ = flag::register(SIGTERM, asked.clone());
    #[cfg(unix)]
    let _ = flag::register(signal_hook::consts::SIGUSR1, asked.clone());
    asked
}

const TEMPLATE: &str = "{pos:>6}/{len} {wide_bar} {msg} ETA {eta:>4}";
const PLOT_TEMPLATE: &str = "{prefix}\n{pos:>6}/{len} {wide_bar} {msg} ETA {eta:>4}";

async fn follow(
    session: &Session,
    args: &TrainArgs,
    run: &mut Run,
    samples: Option<&Samples>,
) -> Result<()> {
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
                if let Some(samples) = samples {
                    for line in samples.answer(run).await? {
                        say(&bar, line);
                    }
                }
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
        if !over && any(&*session.ranks, interrupted.load(Ordering::SeqCst))? {
            bar.finish_and_clear();
            let path = run.save().await?;
            let why = format!(
                "interrupted after step {} of {}; saved {}. Go on with: wgpu-lora train --out {} --resume",
                run.step(),
                run.total_steps(),
                path.display(),
                args.out.display()
            );
            return Err(Interrupted(why).into());
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
