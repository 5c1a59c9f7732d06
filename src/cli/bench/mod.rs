//! `bench`: whole passes here, kernels in [`kernels`].

mod kernels;
mod shapes;

use std::time::Instant;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use self::kernels::KernelArgs;
use super::args::ModelArgs;
use super::session::Session;
use crate::data::Batch;
use crate::gpu::Gpu;
use crate::model::{Keep, KvCache, Pass};
use crate::random::{below, stream};
use crate::train::config::TrainConfig;
use crate::train::memory::{Limits, RunPlan};
use crate::train::schedule::{Schedule, SchedulerType};
use crate::train::trainer::{Trainer, TrainerOptions};

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    #[command(subcommand)]
    what: Option<What>,
    #[command(flatten)]
    kernels: KernelArgs,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A training step on random tokens with loss on all.
    Step(StepArgs),
    /// A prompt of random tokens.
    Prefill(TokensArgs),
    /// Tokens one after the other.
    Decode(TokensArgs),
    /// Loading the model to the device.
    Load(ModelArgs),
}

#[derive(Debug, Args)]
struct StepArgs {
    /// Rows.
    #[arg(long, default_value_t = 4)]
    batch: usize,
    /// Tokens of a row.
    #[arg(long, default_value_t = 128)]
    seq: usize,
    #[arg(long, default_value_t = 16)]
    rank: usize,
    #[arg(long, default_value = "all-linear")]
    target_modules: String,
    #[arg(long, value_name = "auto|on|off", default_value = "auto")]
    gradient_checkpointing: String,
    /// Steps that are timed, after one that is not.
    #[arg(long, default_value_t = 3)]
    steps: usize,
    #[command(flatten)]
    model: ModelArgs,
}

#[derive(Debug, Args)]
struct TokensArgs {
    /// Number of tokens [default: 128 of a prompt, 16 generated].
    #[arg(long)]
    tokens: Option<usize>,
    #[command(flatten)]
    model: ModelArgs,
}

pub(super) async fn run(session: &Session, args: &BenchArgs) -> Result<()> {
    if args.what.is_some() && args.kernels.any() {
        bail!("a filter, --shape and --all-variants are for kernels, not for whole passes");
    }
    match &args.what {
        Some(What::Step(args)) => step(session, args).await,
        Some(What::Prefill(args)) => prefill(session, args).await,
        Some(What::Decode(args)) => decode(session, args).await,
        Some(What::Load(args)) => load(session, args).await,
        None => kernels::run(session, &args.kernels).await,
    }
}

/// A size of this process in bytes, by its name in Linux's `/proc/self/status`: `VmRSS`, the
/// resident set; `VmHWM`, the largest so far. Unknown elsewhere.
fn process_bytes(name: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Random ids, the same each time.
fn ids(n: usize, vocabulary: usize) -> Vec<u32> {
    let mut rng = stream(1, "bench", 0);
    (0..n).map(|_| below(&mut rng, vocabulary as u64) as u32).collect()
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Prints a result: the fields of cli.md, then what else is worth knowing.
fn report(session: &Session, gpu: &Gpu, name: &str, seconds: f64, rest: Value) -> Result<()> {
    let mut row = json!({
        "name": name,
        "ms": seconds * 1e3,
        "peak_rss_bytes": process_bytes("VmHWM"),
        "device_bytes": gpu.allocator_bytes().map(|(given, _)| given),
        "device_reserved_bytes": gpu.allocator_bytes().map(|(_, held)| held),
        "adapter": gpu.caps().adapter.name,
    });
    if let (Some(row), Value::Object(rest)) = (row.as_object_mut(), rest) {
        row.extend(rest);
    }
    session.printer.object(&row)?;
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
        "{name}: {:.1} ms, {speed}, peak RSS {}, on the device {}",
        seconds * 1e3,
        mib("peak_rss_bytes"),
        mib("device_bytes")
    ))
}

async fn step(session: &Session, args: &StepArgs) -> Result<()> {
    let flags = toml::Table::from_iter([
        ("rank".to_owned(), (args.rank as i64).into()),
        ("target_modules".to_owned(), args.target_modules.clone().into()),
        ("gradient_checkpointing".to_owned(), args.gradient_checkpointing.clone().into()),
    ]);
    let precision = args.model.precision;
    let config = TrainConfig { lora_dropout: 0.0, precision, ..TrainConfig::default() };
    let config = config.overlay_table(flags, "command line")?;
    config.validate()?;
    let files = session.files(&args.model.name)?;
    let gpu = session.tuned_gpu(args.model.inspect).await?;
    // Program, driver and its compiler are here whatever the run takes.
    let before = process_bytes("VmRSS");
    gpu.take_profile();
    let (b, t) = (args.batch.max(1), args.seq.max(2));
    let mut model = session.model(&gpu, &files, &args.model, t).await?;
    let ids = ids(b * t, model.config().vocab_size);
    let mut batch = Batch::default();
    ids.chunks_exact(t).enumerate().for_each(|(row, ids)| batch.push(row, ids, 0..t));
    let pass = Pass { batch: b, queries: t, targets: batch.targets.len() };
    let plan = RunPlan::new(model.memory(), model.config(), &config, pass, Limits::of(&gpu))?;
    plan.check()?;
    model.add_fresh_adapter("default", &config.adapter_config(), 1).await?;
    let schedule = Schedule::new(SchedulerType::Constant, 1e-4, 0, args.steps as u64 + 1)?;
    let mut trainer = Trainer::new(model, schedule, TrainerOptions::of(&config, plan.keep), pass)?;
    let window = [batch];
    trainer.step(&window).await?;
    session.start_profile(&gpu, args.model.inspect);
    let mut seconds = Vec::new();
    for _ in 0..args.steps.max(1) {
        let clock = Instant::now();
        trainer.step(&window).await?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    let took = median(seconds);
    session.finish_profile(&gpu, args.model.inspect);
    let rest = json!({
        "tokens_per_second": (b * t) as f64 / took,
        "batch": b, "seq": t, "rank": args.rank, "activations_recomputed": plan.keep == Keep::Recomputed,
        "planned_bytes": plan.memory.total(), "driver_bytes": plan.driver(), "tensor_bytes": gpu.tensor_bytes(),
        "rss_before_bytes": before, "kernels": gpu.kernels_made(),
    });
    report(session, &gpu, "train_step", took, rest)
}

async fn prefill(session: &Session, args: &TokensArgs) -> Result<()> {
    let files = session.files(&args.model.name)?;
    let gpu = session.tuned_gpu(args.model.inspect).await?;
    gpu.take_profile();
    let t = args.tokens.unwrap_or(128).max(1);
    let model = session.model(&gpu, &files, &args.model, t).await?;
    let ids = ids(t, model.config().vocab_size);
    let space = model.workspace(Pass { batch: 1, queries: t, targets: 1 }, None)?;
    let mut cache = KvCache::new(&gpu, model.config(), 1, t)?;
    model.extend(&space, &mut cache, &ids).await?;
    session.start_profile(&gpu, args.model.inspect);
    let mut seconds = Vec::new();
    for _ in 0..3 {
        cache.truncate(0);
        let clock = Instant::now();
        model.extend(&space, &mut cache, &ids).await?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    let took = median(seconds);
    session.finish_profile(&gpu, args.model.inspect);
    let rest = json!({"tokens_per_second": t as f64 / took, "tokens": t});
    report(session, &gpu, "prefill", took, rest)
}

async fn decode(session: &Session, args: &TokensArgs) -> Result<()> {
    let files = session.files(&args.model.name)?;
    let gpu = session.tuned_gpu(args.model.inspect).await?;
    gpu.take_profile();
    let n = args.tokens.unwrap_or(16).max(1);
    // A few tokens of context and one pass before the clock runs.
    let context = 4;
    let model = session.model(&gpu, &files, &args.model, context + n + 1).await?;
    let ids = ids(context + n + 1, model.config().vocab_size);
    let space = model.workspace(Pass { batch: 1, queries: context, targets: 1 }, None)?;
    let mut cache = KvCache::new(&gpu, model.config(), 1, ids.len())?;
    model.extend(&space, &mut cache, &ids[..context]).await?;
    model.extend(&space, &mut cache, &ids[context..context + 1]).await?;
    session.start_profile(&gpu, args.model.inspect);
    let mut seconds = Vec::new();
    for id in &ids[context + 1..] {
        let clock = Instant::now();
        model.extend(&space, &mut cache, &[*id]).await?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    let took = median(seconds);
    session.finish_profile(&gpu, args.model.inspect);
    report(session, &gpu, "decode", took, json!({"tokens_per_second": 1.0 / took, "tokens": n}))
}

async fn load(session: &Session, args: &ModelArgs) -> Result<()> {
    let gpu = session.gpu(args.inspect, None).await?;
    let clock = Instant::now();
    let files = session.files(&args.name)?;
    let positions = files.config.max_position_embeddings.min(2048);
    let model = session.model(&gpu, &files, args, positions).await?;
    let took = clock.elapsed().as_secs_f64();
    let names = files.checkpoint.names();
    let bytes: u64 =
        names.filter_map(|name| files.checkpoint.info(name).ok()).map(|i| i.bytes).sum();
    let rest = json!({
        "bytes_per_second": bytes as f64 / took,
        "bytes": bytes,
        "weight_bytes": model.weight_bytes(),
    });
    report(session, &gpu, "load", took, rest)
}
