//! `export`: a model, or an adapter alone, as GGUF.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::beside;
use super::files::say_notes;
use super::session::Session;
use crate::Error;
use crate::export::{export_gguf, export_lora_gguf};
use crate::format::{AdapterFile, is_gguf};

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// Write GGUF, which llama.cpp reads.
    #[arg(long, required = true)]
    gguf: bool,
    /// The base model in 16 or 32 bits: a folder, a .gguf file, or a Hugging Face name.
    #[arg(long)]
    model: String,
    /// A PEFT folder, merged into the model.
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Write the adapter alone: llama.cpp puts it beside a model (`--lora`).
    #[arg(long, requires = "adapter")]
    lora_only: bool,
    /// The file to write.
    #[arg(long, value_name = "FILE.gguf")]
    out: PathBuf,
}

pub(super) async fn run(session: &Session, args: &ExportArgs) -> Result<()> {
    let printer = &session.printer;
    if !is_gguf(&args.out) {
        let why = "should end in .gguf";
        return Err(Error::invalid(format!("--out {}", args.out.display()), why).into());
    }
    let files = session.files(&args.model)?;
    files.say(printer);
    let adapter = args.adapter.as_ref().map(AdapterFile::load).transpose()?;
    if let (Some(path), Some(adapter)) = (&args.adapter, &adapter) {
        say_notes(printer, &path.display().to_string(), adapter, &files.config);
        beside::say_lost(printer, path);
    }
    match &adapter {
        Some(adapter) if args.lora_only => export_lora_gguf(&files, adapter, &args.out)?,
        _ => {
            let progress = &mut printer.progress("exporting");
            export_gguf(&files, adapter.as_ref(), &args.out, progress)?;
        }
    }
    let bytes = std::fs::metadata(&args.out).map_or(0, |m| m.len());
    let what = match (&adapter, args.lora_only) {
        (_, true) => "adapter",
        (Some(_), _) => "merged model",
        (None, _) => "model",
    };
    printer.line(format!("{what} in {} ({bytes} bytes)", args.out.display()))?;
    printer.object(&json!({"out": args.out, "bytes": bytes, "what": what}))
}
