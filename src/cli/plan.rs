//! `plan`: what a training run would take, before anything is allocated.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::args::Inspect;
use super::flags::with_flags;
use super::rows::Rows;
use super::session::Session;
use super::settings::SettingsArgs;
use crate::format::{ModelConfig, ModelFiles, Tokenizer};
use crate::model::{Keep, LoadOptions, MemoryPlan, Pass};
use crate::train::memory::{Limits, RunPlan};
use crate::train::plan::full_pass;

/// The flags of `train`; those that change no size are taken and not looked at.
#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// The folder of the run; not touched.
    #[arg(long, value_name = "RUNDIR")]
    out: Option<PathBuf>,
    /// Take the settings of the run in RUNDIR.
    #[arg(long, requires = "out")]
    resume: bool,
    #[command(flatten)]
    settings: SettingsArgs,
}

pub(super) async fn run(session: &Session, args: &PlanArgs) -> Result<()> {
    let resumed = args.out.as_deref().filter(|_| args.resume);
    let config = args.settings.merged(resumed)?;
    config.validate()?;
    let path = session.locate(&config.model)?;
    // A folder with nothing but its config.json can be planned with, too.
    let files = match path.is_file() || holds_weights(&path) {
        true => Some(ModelFiles::open(&path)?),
        false => None,
    };
    let model = match &files {
        Some(files) => files.config.clone(),
        None => ModelConfig::from_dir(&path)?,
    };
    let mut config = config.for_model(&model);
    let (largest, positions) = if config.data.is_empty() {
        let length = config.row_length();
        session.printer.note(format!(
            "without --data: planned for rows of --max-length {length} tokens; a run takes what its longest row asks for"
        ));
        (full_pass(&config).into(), length)
    } else {
        let mut tokenizer = match &files {
            Some(files) => files.tokenizer()?,
            None => Tokenizer::from_file(&path)?,
        };
        tokenizer.complete(&model);
        let rows = Rows::open(session, &mut config, tokenizer, None)?;
        (rows.largest_batch(&config), rows.positions(&config))
    };
    let options = LoadOptions { quant: config.quant, max_positions: positions };
    let checkpoint = files.as_ref().map(|files| &files.checkpoint);
    let weights = MemoryPlan::weights(&model, checkpoint, options)?;
    let limits = match session.gpu(Inspect::default(), None).await {
        Ok(gpu) => Limits::of(&gpu),
        Err(error) => {
            session.printer.warn(format!("{error:#}; planned without a device"));
            Limits::unknown()
        }
    };
    let plan = RunPlan::new(&weights, &model, &config, largest, limits)?;
    let m = &plan.memory;
    session.printer.object(&json!({
        "weights": m.weights,
        "adapters": m.adapters,
        "optimizer": m.optimizer,
        "activations": m.activations,
        "workspace": m.workspace,
        "images": m.images,
        "total": m.total(),
        "driver": plan.driver(),
        "fits": plan.fits(),
        "device_limit": plan.limits.memory,
        "activations_recomputed": plan.keep == Keep::Recomputed,
        "batch": plan.largest.pass.batch,
        "tokens": plan.largest.pass.queries,
        "targets": plan.largest.pass.targets,
    }))?;
    session.printer.line(table(&plan))?;
    if let Err(error) = plan.check() {
        session.printer.line(with_flags(&format!("does not fit: {error}")))?;
    }
    Ok(())
}

/// Whether there are safetensors beside config.json.
fn holds_weights(folder: &Path) -> bool {
    let is = |path: PathBuf| path.extension().is_some_and(|e| e == "safetensors");
    folder.read_dir().is_ok_and(|mut all| all.any(|e| e.is_ok_and(|e| is(e.path()))))
}

/// The plan for people.
pub(super) fn table(plan: &RunPlan) -> String {
    let m = &plan.memory;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / f64::from(1 << 20));
    let kept = match plan.keep {
        Keep::Full => "all kept",
        Keep::Half => "kept at 16 bits",
        Keep::Recomputed => "recomputed in backward",
    };
    let Pass { batch, queries, targets } = plan.largest.pass;
    let rows = [
        ("weights", m.weights, "frozen layers, embedding, norms".to_owned()),
        ("adapters", m.adapters, "trainable parameters, gradients".to_owned()),
        ("optimizer", m.optimizer, "moments".to_owned()),
        ("activations", m.activations, kept.to_owned()),
        ("workspace", m.workspace, "gradients of activations, logits".to_owned()),
        ("images", m.images, "copies of what kernels read from images".to_owned()),
        ("total", m.total(), format!("{batch} x {queries} tokens, {targets} of them targets")),
    ];
    let mut text = format!("{:<12} {:>10}", "memory", "MiB");
    let there = |row: &(&str, u64, String)| row.0 != "images" || row.1 > 0;
    for (name, bytes, what) in rows.into_iter().filter(there) {
        text.push_str(&format!("\n{name:<12} {:>10}  {what}", mib(bytes)));
    }
    if plan.driver() > 0 {
        let what = "compiled kernels, beside the device's memory: an estimate";
        text.push_str(&format!("\n{:<12} {:>10}  {what}", "driver", mib(plan.driver())));
    }
    if let Some(limit) = plan.limits.memory {
        text.push_str(&format!("\n{:<12} {:>10}", "device", mib(limit)));
    }
    text
}
