//! What is judged: a model on this rank's device, with the adapter.

use anyhow::{Context, Result};

use super::args::EvaluateArgs;
use super::predictions::Basis;
use crate::cli::args::ModelArgs;
use crate::cli::files::Files;
use crate::cli::session::Session;
use crate::format::{AdapterFile, Tokenizer};
use crate::gpu::Gpu;
use crate::model::Model;
use crate::random::Fnv;

/// What mends ranks that have not the same basis.
pub(super) const ADVICE: &str = "give all hosts the same program, model, adapter and rows";

/// Opens a device, and the model on it with the adapter as `fine_tuned`. Rank 0 makes the report's
/// folder before, so that a wrong one costs no loading.
pub(super) async fn open(
    session: &Session,
    args: &EvaluateArgs,
    files: &Files,
    positions: usize,
) -> Result<(Gpu, Model)> {
    if session.ranks.rank() == 0 {
        std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    }
    let inspect = args.model.inspect;
    let gpu = session.gpu_of_rank(inspect, session.tuned_gpu(inspect)).await?;
    let adapter = &gpu.caps().adapter;
    session.printer.note(format!("device: {} ({})", adapter.name, adapter.backend));
    let mut model = session.model(&gpu, files, &args.model, positions).await?;
    if let Some(path) = &args.adapter {
        session.attach(&mut model, "fine_tuned", path).await?;
    }
    Ok((gpu, model))
}

/// What answers depend on, by name; `rows` is a hash of what is asked.
pub(super) fn basis(
    args: &EvaluateArgs,
    rows: String,
    tokenizer: &Tokenizer,
    model: &Model,
) -> Result<Basis> {
    let mut basis = asked(&args.model, args.adapter.as_deref(), tokenizer, model)?;
    basis.insert("rows".to_owned(), rows);
    basis.insert("--max-new-tokens".to_owned(), args.answer_tokens().to_string());
    Ok(basis)
}

/// What is asked: the program, the model and its adapter.
pub(in crate::cli) fn asked(
    of: &ModelArgs,
    adapter: Option<&str>,
    tokenizer: &Tokenizer,
    model: &Model,
) -> Result<Basis> {
    let hex = |hash: u64| format!("{hash:016x}");
    let all = [
        ("the program's version", env!("CARGO_PKG_VERSION").to_owned()),
        ("adapter", hex(adapter_hash(adapter)?)),
        ("configuration", hex(Fnv::of(format!("{:?}", model.config()).as_bytes()))),
        ("tokenizer", hex(Fnv::of(tokenizer.to_json()?.as_bytes()))),
        ("base weights", model.fingerprint()),
        ("--quant", format!("{:?}", of.quant)),
        ("--precision", format!("{:?}", of.precision)),
    ];
    Ok(all.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Of the adapter's two files; of nothing where there is none.
fn adapter_hash(adapter: Option<&str>) -> Result<u64> {
    let mut hash = Fnv::default();
    if let Some(adapter) = adapter {
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let path = AdapterFile::folder(adapter).join(name);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            hash = hash.with(&bytes);
        }
    }
    Ok(hash.finish())
}
