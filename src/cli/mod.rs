//! The command line: which commands there are (here), the flags of each beside its work, flags that
//! several share (`args`), what every command needs (`session`), and where the words go
//! (`printer`). Only this module prints, blocks and uses `anyhow`.

mod adapters;
mod args;
mod asking;
mod bench;
mod beside;
mod charts;
mod chat;
mod doctor;
mod evaluate;
mod export;
mod files;
mod flags;
mod generate;
mod info;
mod logits;
mod manual;
mod merge;
#[cfg(feature = "mpi")]
mod mpi;
mod near;
mod plan;
mod plot;
mod predict;
mod prepare;
mod price_list;
mod printer;
mod ranks;
mod rows;
mod samples;
mod session;
mod settings;
mod shaders;
mod spelling;
mod train;
mod training_texts;
mod yaml;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

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
    /// Answer or continue a prompt, as the adapter was trained.
    Generate(generate::GenerateArgs),
    /// Talk with a model: lines of a terminal or a pipe.
    Chat(chat::ChatArgs),
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
    /// Judge a model on rows that it was not trained on.
    Evaluate(Box<evaluate::EvaluateArgs>),
    /// Say what a product costs.
    Predict(predict::PredictArgs),
    /// Measure kernels, a training step, a prompt, generation, or loading.
    Bench(bench::BenchArgs),
    /// Judge this adapter: whether its numbers are right, and how near it comes to its ceilings.
    Doctor(doctor::DoctorArgs),
    /// Write completions for a shell to stdout.
    Completions(manual::CompletionsArgs),
    /// Write the manual's pages.
    Man(manual::ManArgs),
    /// Write the text of every kernel variant, for shader checks.
    #[command(hide = true)]
    Shaders(shaders::ShadersArgs),
}

/// Parses the command line, runs it, and says how it went: 0 done, 1 failed, 2 usage.
pub fn main() -> ExitCode {
    #[cfg(target_os = "linux")]
    without_a_display();
    let cli = match parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are results; nobody may be reading them.
            let _ = match error.kind() {
                ErrorKind::ValueValidation => {
                    let text = error.render().to_string();
                    let text = text.replace(
                        "invalid digit found in string",
                        "should be a whole number from 0",
                    );
                    write!(std::io::stderr(), "{text}")
                }
                _ => error.print(),
            };
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

/// The program's flags.
fn command() -> clap::Command {
    // Below 0 is a value that is told its range, not an unknown flag.
    Cli::command().mut_subcommands(|command| {
        command.mut_args(|arg| match arg.get_action().takes_values() {
            true => arg.allow_negative_numbers(true),
            false => arg,
        })
    })
}

fn parse() -> Result<Cli, clap::Error> {
    let words = std::env::args_os().map(std::ffi::OsString::into_string);
    let program = command();
    let matches = match words.collect::<Result<Vec<String>, _>>() {
        Ok(words) => program.clone().try_get_matches_from(spelling::known(words, &program)),
        Err(_) => program.clone().try_get_matches(),
    }?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut program.clone()))
}

/// Mesa's device-select layer asks a display server for its choice, and where there is none writes
/// an error on every start. A process cannot safely set its own variables, so that this one begins
/// again with the variable that switches the layer off.
#[cfg(target_os = "linux")]
fn without_a_display() {
    use std::os::unix::process::CommandExt;
    const OFF: &str = "NODEVICE_SELECT";
    let is_set = |name: &str| std::env::var_os(name).is_some();
    if is_set("XDG_RUNTIME_DIR") || is_set(OFF) {
        return;
    }
    if let Ok(program) = std::env::current_exe() {
        // Returns only where it fails; then the line is written.
        let _ = std::process::Command::new(program)
            .args(std::env::args_os().skip(1))
            .env(OFF, "1")
            .exec();
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
        Command::Predict(args) => args.data.is_some(),
        _ => false,
    };
    if launch.ranks.size() > 1 && !divided {
        anyhow::bail!(
            "several ranks divide `train`, `evaluate` and `predict --data`; start this command alone"
        );
    }
    match &cli.command {
        Command::Info => info::run(&session).await,
        Command::Train(args) => train::run(&session, args).await,
        Command::Plan(args) => plan::run(&session, args).await,
        Command::Generate(args) => generate::run(&session, args).await,
        Command::Chat(args) => chat::run(&session, args).await,
        Command::Logits(args) => logits::run(&session, args).await,
        Command::Merge(args) => merge::run(&session, args).await,
        Command::Export(args) => export::run(&session, args).await,
        Command::Adapters(args) => adapters::run(&session, args).await,
        Command::Plot(args) => plot::run(&session, args),
        Command::Prepare(args) => prepare::run(&session, args).await,
        Command::Evaluate(args) => evaluate::run(&session, args).await,
        Command::Predict(args) => match &args.data {
            Some(data) => price_list::run(&session, args, data).await,
            None => predict::run(&session, args).await,
        },
        Command::Bench(args) => bench::run(&session, args).await,
        Command::Doctor(args) => doctor::run(&session, args).await,
        Command::Completions(args) => manual::completions(args, command()),
        Command::Man(args) => manual::man(&session, args, command()),
        Command::Shaders(args) => shaders::run(&session, args),
    }
}

/// The message and its causes, each said once: some messages contain their cause.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    let mut of_file = false;
    for cause in error.chain() {
        // A file's error has the system's words already.
        let said = of_file && cause.is::<std::io::Error>();
        of_file = matches!(cause.downcast_ref(), Some(crate::Error::Io { .. }));
        let cause = cause.to_string();
        if text.is_empty() {
            text = cause;
        } else if !said && !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    if let Some(crate::Error::Io { path, source }) = error.chain().find_map(|e| e.downcast_ref())
        && source.kind() == std::io::ErrorKind::NotFound
    {
        text += &near::question(path);
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
