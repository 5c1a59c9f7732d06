//! `merge`: an adapter into the original 16-bit weights, and what that changes.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::args::Inspect;
use super::beside;
use super::files::{Files, say_notes};
use super::session::Session;
use crate::export;
use crate::format::{AdapterFile, Special};
use crate::generate::{argmax, prompt_ids};
use crate::model::{Pass, Quant};

#[derive(Debug, Args)]
pub(super) struct MergeArgs {
    /// The base model in 16 or 32 bits: a folder, a .gguf file, or a Hugging Face name.
    #[arg(short, long)]
    model: String,
    /// A PEFT folder, or a run's.
    #[arg(long)]
    adapter: PathBuf,
    /// The folder of the merged model; made if needed.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The text on which merged and adapted logits are compared.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "The price of this product, in US dollars, is $"
    )]
    probe: String,
    /// Merge only: needs no device.
    #[arg(long)]
    no_probe: bool,
}

pub(super) async fn run(session: &Session, args: &MergeArgs) -> Result<()> {
    let printer = &session.printer;
    let files = session.files(&args.model)?;
    files.say(printer);
    let adapter = AdapterFile::load(&args.adapter)?;
    say_notes(printer, &args.adapter.display().to_string(), &adapter, &files.config);
    if files.checkpoint.gguf().is_some() {
        printer.warn(
            "the model is a GGUF file: what it holds in blocks is merged as dequantized, in F16. \
             The original 16-bit weights give a better model",
        );
    }
    export::merge(&files, &adapter, &args.out, &mut printer.progress("merging"))?;
    beside::copy(printer, &args.adapter, &args.out)?;
    printer.line(format!("merged model in {}", args.out.display()))?;
    let mut result = json!({"out": args.out, "layers": adapter.modules().len()});
    if !args.no_probe {
        match probe(session, args, &files, &adapter).await {
            Ok(found) => {
                printer.line(format!(
                    "largest difference of a logit, over the {} tokens of the probe: {:.4} against the adapter \
                     beside 4-bit weights{}, {} (logits are up to {:.1}); the top choice is the same at {:.0} % of the \
                     tokens",
                    found.tokens,
                    found.nf4,
                    match found.nf4_alone {
                        Some(alone) => format!(" (4 bits alone make {alone:.4} in the base model)"),
                        None => String::new(),
                    },
                    match found.same {
                        Some(same) => format!("{same:.4} beside the 16-bit ones"),
                        None => "not measured beside the 16-bit ones".into(),
                    },
                    found.largest,
                    100.0 * found.agreeing,
                ))?;
                result["tokens"] = json!(found.tokens);
                result["max_logit_difference_nf4"] = json!(found.nf4);
                result["max_logit_difference_nf4_alone"] = json!(found.nf4_alone);
                result["max_logit_difference_16bit"] = json!(found.same);
                result["top_choice_agrees"] = json!(found.agreeing);
                result["max_logit"] = json!(found.largest);
            }
            Err(why) => printer.warn(format!(
                "merged, but not compared with the adapter on 4-bit weights: {why:#}"
            )),
        }
    }
    printer.object(&result)
}

struct Probe {
    tokens: usize,
    /// Merged against the adapter beside 4-bit weights.
    nf4: f32,
    /// The base model in 4 bits against itself in 16.
    nf4_alone: Option<f32>,
    /// Merged against the adapter beside 16-bit weights.
    same: Option<f32>,
    /// Share of tokens whose top choice is that of the adapter beside 4-bit weights.
    agreeing: f64,
    largest: f32,
}

async fn probe(
    session: &Session,
    args: &MergeArgs,
    base: &Files,
    adapter: &AdapterFile,
) -> Result<Probe> {
    let merged = session.files(&args.out.display().to_string())?;
    let tokenizer = base.tokenizer()?;
    let gpu = session.gpu(Inspect::default(), None).await?;
    let positions = tokenizer.encode(&args.probe, Special::With)?.len() + 1;
    // With the adapter, and without.
    let logits = async |files: &Files, quant, adapter: Option<&AdapterFile>| {
        let mut model = session.load(&gpu, files, quant, positions).await?;
        let ids = prompt_ids(&model, &tokenizer, &args.probe)?;
        let rows: Vec<u32> = (0..ids.len() as u32).collect();
        let pass = Pass { batch: 1, queries: ids.len(), targets: ids.len() };
        let space = model.workspace(pass, None)?;
        let plain = model.logits(&space, &ids, 1, &rows).await?;
        drop(space);
        let Some(adapter) = adapter else { return anyhow::Ok((plain.clone(), plain)) };
        model.add_adapter("adapter", adapter).await?;
        let space = model.workspace(pass, None)?;
        anyhow::Ok((model.logits(&space, &ids, 1, &rows).await?, plain))
    };
    let difference =
        |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let (inside, _) = logits(&merged, Quant::None, None).await?;
    let (four, four_alone) = logits(base, Quant::Nf4, Some(adapter)).await?;
    // Where the 16-bit weights and an adapter do not fit together, the first figure still says what
    // matters.
    let same = logits(base, Quant::None, Some(adapter)).await.ok();
    let vocabulary = base.config.vocab_size;
    let tops =
        |logits: &[f32]| logits.chunks(vocabulary).map(argmax).collect::<crate::Result<Vec<u32>>>();
    let (ours, theirs) = (tops(&inside)?, tops(&four)?);
    let agreeing = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
    let (same, same_alone) = same.unzip();
    Ok(Probe {
        tokens: ours.len(),
        nf4: difference(&inside, &four),
        nf4_alone: same_alone.map(|alone| difference(&four_alone, &alone)),
        same: same.map(|beside| difference(&inside, &beside)),
        agreeing: agreeing as f64 / ours.len().max(1) as f64,
        largest: inside.iter().fold(0.0, |m, v| v.abs().max(m)),
    })
}
