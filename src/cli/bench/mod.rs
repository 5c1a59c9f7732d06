//! `bench`: what is measured, and of which model; whole passes in [`passes`], kernels in
//! [`kernels`].

#[cfg(feature = "mpi")]
mod exchange;
mod kernels;
pub(super) mod passes;
pub(super) mod shapes;
pub(super) mod timing;

use anyhow::{Context, Result, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::Value;

use self::kernels::KernelArgs;
use self::passes::{Step, StepSize, Subject, decode, load, prefill};
use super::args::{Computation, ModelArgs};
use super::files::Files;
use super::session::Session;
use crate::format::{Checkpoint, ModelFiles, ModelShape};
use crate::model::Quant;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    kernels: KernelArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A training step on random tokens.
    Step(StepArgs),
    /// A prompt of random tokens.
    Prefill(TokensArgs),
    /// Tokens one after the other.
    Decode(TokensArgs),
    /// Loading the model to the device.
    Load(ModelArgs),
    /// Summing gradients over the ranks of mpirun.
    #[cfg(feature = "mpi")]
    Exchange(exchange::ExchangeArgs),
}

#[derive(Debug, Args)]
struct StepArgs {
    #[command(flatten)]
    size: StepSize,
    /// Steps that are timed, after one that is not.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    #[command(flatten)]
    model: SubjectArgs,
}

#[derive(Debug, Args)]
struct TokensArgs {
    /// Number of tokens [default: 128 of a prompt, 16 generated].
    #[arg(long)]
    tokens: Option<usize>,
    #[command(flatten)]
    model: SubjectArgs,
}

/// A model, or random weights of a shape.
#[derive(Debug, Args)]
#[command(next_help_heading = "Model")]
struct SubjectArgs {
    /// A folder with config.json and safetensors, a .gguf file, or a Hugging Face name.
    #[arg(long, value_name = "MODEL", required_unless_present = "model_shape")]
    model: Option<String>,
    /// Random weights in this shape instead, made in memory.
    #[arg(long, value_name = "SHAPE", conflicts_with = "model", value_parser = shape())]
    model_shape: Option<ModelShape>,
    #[command(flatten)]
    how: Computation,
}

/// One of the shapes by its name.
pub(super) fn shape() -> impl TypedValueParser<Value = ModelShape> {
    let names = ModelShape::ALL.map(|shape| shape.name);
    PossibleValuesParser::new(names).try_map(|name| ModelShape::named(&name))
}

/// Random weights of a shape, as `quant` would keep them.
pub(super) fn random_files(shape: ModelShape, quant: Quant) -> Result<Files> {
    let config = shape.config();
    let checkpoint = Checkpoint::random(shape.name, &config, quant != Quant::None)?;
    let (path, notes) = (shape.name.into(), Vec::new());
    Ok(Files::new(ModelFiles { path, config, checkpoint, notes }))
}

impl SubjectArgs {
    /// Opens model and device.
    async fn subject<'a>(&self, session: &'a Session) -> Result<Subject<'a>> {
        let files = match (self.model_shape, &self.model) {
            (Some(shape), _) => random_files(shape, self.how.quant)?,
            (None, model) => {
                session.files(model.as_deref().context("--model or --model-shape")?)?
            }
        };
        let gpu = session.tuned_gpu(self.how.inspect).await?;
        gpu.take_profile();
        Ok(Subject { session, gpu, files, how: self.how })
    }
}

impl BenchArgs {
    /// Whether several ranks have a part in it.
    pub(super) fn is_divided(&self) -> bool {
        #[cfg(feature = "mpi")]
        return matches!(self.what, Some(What::Exchange(_)));
        #[cfg(not(feature = "mpi"))]
        false
    }
}

pub(super) async fn run(session: &Session, args: &BenchArgs) -> Result<()> {
    if args.what.is_some() && args.kernels.any() {
        bail!("a filter, --shape and --all-variants are for kernels, not for whole passes");
    }
    match &args.what {
        #[cfg(feature = "mpi")]
        Some(What::Exchange(args)) => exchange::run(session, args).await,
        Some(What::Step(args)) => {
            let at = args.model.subject(session).await?;
            let mut step = Step::new(&at, &args.size).await?;
            session.start_profile(&at.gpu, at.how.inspect);
            let seconds = step.seconds(args.steps).await?;
            session.finish_profile(&at.gpu, at.how.inspect);
            report(session, &step.row(&at, seconds))
        }
        Some(What::Prefill(args)) => {
            let at = args.model.subject(session).await?;
            report(session, &prefill(&at, args.tokens.unwrap_or(128)).await?)
        }
        Some(What::Decode(args)) => {
            let at = args.model.subject(session).await?;
            report(session, &decode(&at, args.tokens.unwrap_or(16)).await?)
        }
        Some(What::Load(args)) => report(session, &load(session, args).await?),
        None => kernels::run(session, &args.kernels).await,
    }
}

/// Prints a result: the fields of cli.md, then what else is worth knowing.
fn report(session: &Session, row: &Value) -> Result<()> {
    session.printer.object(row)?;
    let name = row["name"].as_str().unwrap_or_default();
    let ms = row["ms"].as_f64().unwrap_or(f64::NAN);
    let mib = |key: &str| match row[key].as_u64() {
        Some(bytes) => format!("{} MiB", bytes >> 20),
        None => "unknown".into(),
    };
    let speed = match (row["tokens_per_second"].as_f64(), row["bytes_per_second"].as_f64()) {
        (Some(tokens), _) => format!("{tokens:.1} tokens/s"),
        (_, Some(bytes)) => format!("{:.1} MB/s", bytes / 1e6),
        _ => String::new(),
    };
    session.printer.line(format!(
        "{name}: {ms:.1} ms, {speed}, peak RSS {}, on the device {}",
        mib("peak_rss_bytes"),
        mib("device_bytes")
    ))
}
