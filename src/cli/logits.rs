//! `logits`: one pass over a prompt, for comparison with other programs.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::args::ModelArgs;
use super::asking::PromptArgs;
use super::session::Session;
use crate::Error;
use crate::format::{DType, Special, TensorData, TrainingNote, write_safetensors};
use crate::generate::{PromptFormat, bos_note, prompt_ids, top};
use crate::model::Pass;

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(super) struct LogitsArgs {
    /// A PEFT folder, or a run's.
    #[arg(long)]
    adapter: Option<String>,
    /// The text, or the message, as the adapter was trained.
    #[arg(short, long, value_name = "TEXT", group = "input", allow_hyphen_values = true)]
    prompt: Option<String>,
    #[command(flatten)]
    taken: PromptArgs,
    /// Token ids with commas, taken as they are.
    #[arg(long, value_name = "1,2,3", group = "input", value_delimiter = ',')]
    ids: Option<Vec<u32>>,
    /// Show this many of the most probable next tokens.
    #[arg(long, value_name = "N", default_value_t = 20)]
    top: usize,
    /// Write the logits at every token: `logits` f32 [T, V].
    #[arg(long, value_name = "FILE.safetensors")]
    out: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
}

pub(super) async fn run(session: &Session, args: &LogitsArgs) -> Result<()> {
    if let Some(path) = &args.out
        && path.extension().is_none_or(|e| e != "safetensors")
    {
        let why = "should end in .safetensors";
        return Err(Error::invalid(format!("--out {}", path.display()), why).into());
    }
    let files = session.files(&args.model.name)?;
    // With --ids the tokenizer only names the tokens.
    let tokenizer = match args.ids {
        Some(_) => files.tokenizer().ok(),
        None => Some(files.tokenizer()?),
    };
    let note = args.adapter.as_deref().map(TrainingNote::load).transpose()?.flatten();
    let (mut encoded, mut is_text) = (args.ids.clone().unwrap_or_default(), false);
    if let (Some(text), Some(tokenizer)) = (&args.prompt, &tokenizer) {
        let prompt = args.taken.prompt(&session.printer, tokenizer, note.as_ref(), text.clone())?;
        is_text = prompt.format == PromptFormat::Text;
        encoded = match prompt.chat_ids() {
            Some(ids) => ids.to_vec(),
            None => tokenizer.encode(text, Special::With)?,
        };
    }
    let gpu = session.gpu(args.model.inspect, None).await?;
    let positions = encoded.len().max(1);
    let mut model = session.model(&gpu, &files, &args.model, positions).await?;
    if let Some(adapter) = &args.adapter {
        session.attach(&mut model, "adapter", adapter).await?;
    }
    if is_text && let Some(note) = tokenizer.as_ref().and_then(|t| bos_note(t, &encoded)) {
        session.printer.note(note);
    }
    // As the tokenizer makes them, what it puts behind a text included.
    let ids = match (&args.prompt, &tokenizer) {
        (Some(prompt), Some(tokenizer)) if encoded.is_empty() => {
            prompt_ids(&model, tokenizer, prompt)?
        }
        _ => encoded,
    };
    let (t, v) = (ids.len(), model.config().vocab_size);
    let rows: Vec<u32> = match args.out {
        Some(_) => (0..t as u32).collect(),
        None => vec![(t as u32).saturating_sub(1)],
    };
    let space = model.workspace(Pass { batch: 1, queries: t, targets: rows.len() }, None)?;
    let logits = model.logits(&space, &ids, 1, &rows).await?;
    let last = &logits[logits.len().saturating_sub(v)..];
    let name = |id: u32| tokenizer.as_ref().and_then(|t| t.decode(&[id], Special::With).ok());
    let top = top(last, args.top)?;
    for c in &top {
        let token = name(c.id).unwrap_or_default();
        session.printer.line(format!(
            "{:>7}  {:<24}  {:>12.6}  {:>10.6}",
            c.id,
            format!("{token:?}"),
            c.logit,
            c.probability
        ))?;
    }
    if let Some(path) = &args.out {
        let bytes: Vec<u8> = logits.iter().flat_map(|x| x.to_le_bytes()).collect();
        let shape = [t, v];
        let tensor = TensorData { name: "logits", dtype: DType::F32, shape: &shape, bytes: &bytes };
        write_safetensors(path, &[tensor], &[])?;
        session.printer.note(format!("logits {shape:?} in {}", path.display()));
    }
    let top: Vec<_> = top
        .iter()
        .map(|c| {
            json!({"id": c.id, "token": name(c.id), "logit": c.logit, "probability": c.probability})
        })
        .collect();
    session.printer.object(&json!({"top": top, "tokens": ids}))?;
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
}
