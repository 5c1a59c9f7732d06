//! `logits`: one pass over a prompt, for comparison with other programs.

use anyhow::Result;
use serde_json::json;

use super::args::LogitsArgs;
use super::model::{Files, Session, attach};
use crate::Error;
use crate::format::{DType, TensorData, write_safetensors};
use crate::generate::{bos_note, prompt_ids, top};
use crate::model::Pass;

pub(super) async fn run(session: &Session, args: &LogitsArgs) -> Result<()> {
    if let Some(path) = &args.out
        && path.extension().is_none_or(|e| e != "safetensors")
    {
        let why = "should end in .safetensors";
        return Err(Error::invalid(format!("--out {}", path.display()), why).into());
    }
    let files = Files::open(&args.model)?;
    // With --ids the tokenizer only names the tokens.
    let tokenizer = match args.ids {
        Some(_) => files.tokenizer().ok(),
        None => Some(files.tokenizer()?),
    };
    let encoded = match (&args.ids, &args.prompt, &tokenizer) {
        (Some(ids), ..) => ids.clone(),
        (None, Some(prompt), Some(tokenizer)) => tokenizer.encode(prompt, true)?,
        _ => Vec::new(),
    };
    let gpu = session.gpu(args.inspect, None).await?;
    let positions = encoded.len().max(1);
    let mut model = session.load(&gpu, &files, args.quant.into(), positions).await?;
    model.set_precision(args.precision.into());
    if let Some(adapter) = &args.adapter {
        attach(&session.printer, &mut model, "adapter", adapter).await?;
    }
    if let (Some(prompt), Some(tokenizer)) = (&args.prompt, &tokenizer)
        && let Some(note) = bos_note(&model, tokenizer, prompt)?
    {
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
    let name = |id: u32| tokenizer.as_ref().and_then(|t| t.decode(&[id], false).ok());
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
    session.finish_profile(&gpu, args.inspect);
    Ok(())
}
