//! Whole passes of a model: a training step, a prompt, tokens, loading.

use std::time::Instant;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use crate::cli::args::{Computation, ModelArgs};
use crate::cli::files::Files;
use crate::cli::session::Session;
use crate::data::Batch;
use crate::gpu::Gpu;
use crate::model::{Keep, KvCache, Pass};
use crate::random::{below, stream};
use crate::train::config::TrainConfig;
use crate::train::memory::{Limits, RunPlan};
use crate::train::schedule::{Schedule, SchedulerType};
use crate::train::trainer::{Trainer, TrainerOptions};

/// What is measured: a model's files, and the device that it is loaded to.
pub(in crate::cli) struct Subject<'a> {
    pub(in crate::cli) session: &'a Session,
    pub(in crate::cli) gpu: Gpu,
    pub(in crate::cli) files: Files,
    pub(in crate::cli) how: Computation,
}

/// How large a training step is.
#[derive(Clone, Debug, Args)]
pub(in crate::cli) struct StepSize {
    /// Rows.
    #[arg(long, default_value_t = 4)]
    pub(in crate::cli) batch: usize,
    /// Tokens of a row.
    #[arg(long, default_value_t = 128)]
    pub(in crate::cli) seq: usize,
    /// Tokens at the end of a row that have a loss [default: all].
    #[arg(long, value_name = "N")]
    pub(in crate::cli) targets: Option<usize>,
    #[arg(long, default_value_t = 16)]
    pub(in crate::cli) rank: usize,
    #[arg(long, default_value = "all-linear")]
    pub(in crate::cli) target_modules: String,
    #[arg(long, value_name = "auto|on|off", default_value = "auto")]
    pub(in crate::cli) gradient_checkpointing: String,
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

/// A result: the fields of cli.md, then what else is worth knowing.
fn row(gpu: &Gpu, name: &str, seconds: f64, rest: Value) -> Value {
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
    row
}

/// A training step on random tokens, ready to be timed.
pub(in crate::cli) struct Step {
    trainer: Trainer,
    window: [Batch; 1],
    size: StepSize,
    plan: RunPlan,
    /// Resident bytes before the model was loaded: program, driver and its compiler are here
    /// whatever the run takes.
    before: Option<u64>,
}

impl Step {
    /// Loads the model and takes one step, in which kernels are compiled.
    pub(in crate::cli) async fn new(at: &Subject<'_>, size: &StepSize) -> Result<Step> {
        let size = StepSize { batch: size.batch.max(1), seq: size.seq.max(2), ..size.clone() };
        let flags = toml::Table::from_iter([
            ("rank".to_owned(), (size.rank as i64).into()),
            ("target_modules".to_owned(), size.target_modules.clone().into()),
            ("gradient_checkpointing".to_owned(), size.gradient_checkpointing.clone().into()),
        ]);
        let precision = at.how.precision;
        let config = TrainConfig { lora_dropout: 0.0, precision, ..TrainConfig::default() };
        let config = config.overlay_table(flags, "command line")?;
        config.validate()?;
        let before = process_bytes("VmRSS");
        let (b, t) = (size.batch, size.seq);
        let mut model = at.session.model(&at.gpu, &at.files, &at.how, t).await?;
        let ids = ids(b * t, model.config().vocab_size);
        let mut batch = Batch::default();
        let untrained = t - size.targets.unwrap_or(t).clamp(1, t);
        ids.chunks_exact(t).enumerate().for_each(|(row, ids)| batch.push(row, ids, untrained..t));
        let pass = Pass { batch: b, queries: t, targets: batch.targets.len() };
        let limits = Limits::of(&at.gpu);
        let plan = RunPlan::new(model.memory(), model.config(), &config, pass, limits)?;
        plan.check()?;
        model.add_fresh_adapter("default", &config.adapter_config(), 1).await?;
        let schedule = Schedule::new(SchedulerType::Constant, 1e-4, 0, 1)?;
        let options = TrainerOptions::of(&config, plan.keep);
        let mut trainer = Trainer::new(model, schedule, options, pass)?;
        let window = [batch];
        trainer.step(&window).await?;
        Ok(Step { trainer, window, size, plan, before })
    }

    /// The median time of so many steps.
    pub(in crate::cli) async fn seconds(&mut self, steps: usize) -> Result<f64> {
        let mut seconds = Vec::new();
        for _ in 0..steps.max(1) {
            let clock = Instant::now();
            self.trainer.step(&self.window).await?;
            seconds.push(clock.elapsed().as_secs_f64());
        }
        Ok(median(seconds))
    }

    /// What a step of so many seconds is reported as.
    pub(in crate::cli) fn row(&self, at: &Subject<'_>, seconds: f64) -> Value {
        let StepSize { batch, seq, rank, .. } = self.size;
        let (plan, gpu) = (&self.plan, &at.gpu);
        let rest = json!({
            "tokens_per_second": (batch * seq) as f64 / seconds,
            "batch": batch, "seq": seq, "rank": rank,
            "activations_recomputed": plan.keep == Keep::Recomputed,
            "planned_bytes": plan.memory.total(), "driver_bytes": plan.driver(),
            "tensor_bytes": gpu.tensor_bytes(), "image_bytes": gpu.image_bytes(),
            "rss_before_bytes": self.before, "kernels": gpu.kernels_made(),
        });
        row(gpu, "train_step", seconds, rest)
    }
}

/// A prompt of `tokens` random tokens.
pub(in crate::cli) async fn prefill(at: &Subject<'_>, tokens: usize) -> Result<Value> {
    let (gpu, t) = (&at.gpu, tokens.max(1));
    let model = at.session.model(gpu, &at.files, &at.how, t).await?;
    let ids = ids(t, model.config().vocab_size);
    let space = model.workspace(Pass { batch: 1, queries: t, targets: 1 }, None)?;
    let mut cache = KvCache::new(gpu, model.config(), 1, t)?;
    model.extend(&space, &mut cache, &ids).await?;
    at.session.start_profile(gpu, at.how.inspect);
    let mut seconds = Vec::new();
    for _ in 0..3 {
        cache.truncate(0);
        let clock = Instant::now();
        model.extend(&space, &mut cache, &ids).await?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    let took = median(seconds);
    at.session.finish_profile(gpu, at.how.inspect);
    Ok(row(gpu, "prefill", took, json!({"tokens_per_second": t as f64 / took, "tokens": t})))
}

/// `tokens` tokens one after the other.
pub(in crate::cli) async fn decode(at: &Subject<'_>, tokens: usize) -> Result<Value> {
    let (gpu, n) = (&at.gpu, tokens.max(1));
    // A few tokens of context and one pass before the clock runs.
    let context = 4;
    let model = at.session.model(gpu, &at.files, &at.how, context + n + 1).await?;
    let ids = ids(context + n + 1, model.config().vocab_size);
    let space = model.workspace(Pass { batch: 1, queries: context, targets: 1 }, None)?;
    let mut cache = KvCache::new(gpu, model.config(), 1, ids.len())?;
    model.extend(&space, &mut cache, &ids[..context]).await?;
    model.extend(&space, &mut cache, &ids[context..context + 1]).await?;
    at.session.start_profile(gpu, at.how.inspect);
    let mut seconds = Vec::new();
    for id in &ids[context + 1..] {
        let clock = Instant::now();
        model.extend(&space, &mut cache, &[*id]).await?;
        seconds.push(clock.elapsed().as_secs_f64());
    }
    let took = median(seconds);
    at.session.finish_profile(gpu, at.how.inspect);
    Ok(row(gpu, "decode", took, json!({"tokens_per_second": 1.0 / took, "tokens": n})))
}

/// Loading a model to the device.
pub(super) async fn load(session: &Session, args: &ModelArgs) -> Result<Value> {
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
    Ok(row(&gpu, "load", took, rest))
}
