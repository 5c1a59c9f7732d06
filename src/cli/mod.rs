//! The command line: which commands there are (here), the flags of each beside its work, flags that
//! several share (`args`), what every command needs (`session`), and where the words go
//! (`printer`). Only this module prints, blocks and uses `anyhow`.

mod adapters;
mod args;
mod bench;
mod beside;
mod charts;
mod doctor;
mod evaluate;
mod export;
mod files;
mod flags;
mod generate;
mod info;
mod logits;
mod merge;
#[cfg(feature = "mpi")]
mod mpi;
mod plan;
mod plot;
mod predict;
mod prepare;
mod printer;
mod ranks;
mod rows;
mod session;
mod settings;
mod shaders;
mod train;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use args::Global;
use ranks::{Interrupted, Launch};
use session::Session;

/// QLoRA fine-tuning and inference of Llama models on any GPU.
#[derive(Debug, Parser)]
#[command(name = "wgpu-lora", version, about, propagate_version = true, args_override_self = true)]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show adapters, limits, features, and the kernel variants that were chosen.
    Info,
    /// Fine-tune a LoRA adapter.
    Train(Box<train::TrainArgs>),
    /// Show what a training run would take on the device, from the configuration alone.
    Plan(Box<plan::PlanArgs>),
    /// Continue a prompt.
    Generate(generate::GenerateArgs),
    /// Show the logits behind a prompt.
    Logits(logits::LogitsArgs),
    /// Merge an adapter into the original 16-bit weights: a Hugging Face folder.
    Merge(merge::MergeArgs),
    /// Write a model or an adapter as GGUF.
    Export(export::ExportArgs),
    /// List and compare adapters.
    Adapters(adapters::AdaptersArgs),
    /// Draw a run's losses and learning rate: in the terminal, or as a picture or page.
    Plot(plot::PlotArgs),
    /// Make training, validation and test rows of products with prices.
    Prepare(prepare::PrepareArgs),
    /// Judge a price model on products whose price is known.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Say what a product costs.
    Predict(predict::PredictArgs),
    /// Measure kernels, a training step, a prompt, generation, or loading.
    Bench(bench::BenchArgs),
    /// Judge this adapter: whether its numbers are right, and how near it comes to its ceilings.
    Doctor(doctor::DoctorArgs),
    /// Write the text of every kernel variant, for shader checks.
    #[command(hide = true)]
    Shaders(shaders::ShadersArgs),
}

/// Parses the command line, runs it, and says how it went: 0 done, 1 failed, 2 usage.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; nobody may be reading them.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    log_to_stderr(cli.global.verbose, cli.global.quiet);
    // What the Parquet decoder says when it panics on a damaged file comes back as an error.
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !crate::data::decoding_parquet() {
            hook(info);
        }
    }));
    let launch = match Launch::join() {
        Ok(launch) => launch,
        Err(error) => return failed(&told(&error)),
    };
    match pollster::block_on(run(&cli, &launch)) {
        Ok(()) => {
            launch.leave();
            ExitCode::SUCCESS
        }
        Err(error) if printer::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) if error.is::<Interrupted>() => {
            if launch.ranks.rank() == 0 {
                failed(&error.to_string());
            }
            launch.leave();
            ExitCode::FAILURE
        }
        Err(error) if launch.ranks.size() > 1 => {
            failed(&format!("{}: {}", launch.ranks.place(), told(&error)));
            launch.abort();
            ExitCode::FAILURE
        }
        Err(error) => failed(&told(&error)),
    }
}

fn failed(why: &str) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {}", flags::with_flags(why));
    ExitCode::FAILURE
}

async fn run(cli: &Cli, launch: &Launch) -> anyhow::Result<()> {
    let session = Session::new(&cli.global, launch);
    let divided = match &cli.command {
        Command::Train(_) | Command::Evaluate(_) => true,
        Command::Bench(args) => args.is_divided(),
        _ => false,
    };
    if launch.ranks.size() > 1 && !divided {
        anyhow::bail!("several ranks divide `train` and `evaluate`; start this command alone");
    }
    match &cli.command {
        Command::Info => info::run(&session).await,
        Command::Train(args) => train::run(&session, args).await,
        Command::Plan(args) => plan::run(&session, args).await,
        Command::Generate(args) => generate::run(&session, args).await,
        Command::Logits(args) => logits::run(&session, args).await,
        Command::Merge(args) => merge::run(&session, args).await,
        Command::Export(args) => export::run(&session, args).await,
        Command::Adapters(args) => adapters::run(&session, args).await,
        Command::Plot(args) => plot::run(&session, args),
        Command::Prepare(args) => prepare::run(&session, args).await,
        Command::Evaluate(args) => evaluate::run(&session, args).await,
        Command::Predict(args) => predict::run(&session, args).await,
        Command::Bench(args) => bench::run(&session, args).await,
        Command::Doctor(args) => doctor::run(&session, args).await,
        Command::Shaders(args) => shaders::run(&session, args),
    }
}

/// The message and its causes, each said once: some messages contain their cause.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// What the library traces: warnings, or with `-v` what it does, or what `RUST_LOG` asks for.
fn log_to_stderr(verbose: u8, quiet: bool) {
    let level = match (quiet, verbose) {
        (true, _) => "error",
        (_, 0) => "warn",
        (_, 1) => "wgpu_lora=info,warn",
        _ => "wgpu_lora=debug,info",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    let colours = std::io::stderr().is_terminal();
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    to.with_writer(std::io::stderr).init();
}
