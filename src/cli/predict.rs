//! `predict`: what a product costs, how sure the model is, and what else it could cost.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::args::ModelArgs;
use super::beside;
use super::session::Session;
use crate::Error;
use crate::format::{AdapterFile, Special};
use crate::pricer::beside::{Answer, Blend, BlendPart, Similar};
use crate::pricer::familiar::{Familiar, Verdict, text_of};
use crate::pricer::prompt::{self, PREFIX};
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};

/// A price from a description, with an interval and alternatives.
#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// The fine-tuned adapter, a PEFT folder.
    #[arg(long)]
    pub(super) adapter: Option<String>,
    /// The product's description, best as `prepare` writes it (Title: …); `-` reads it from stdin.
    #[arg(
        value_name = "TEXT",
        required_unless_present_any = ["file", "data"],
        conflicts_with_all = ["file", "data"]
    )]
    text: Option<String>,
    /// A file that holds the description.
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    file: Option<PathBuf>,
    /// Products in a table, as `prepare` reads them but for the price, or rows that it wrote: each
    /// is priced on a line of its own.
    #[arg(long, value_name = "FILE")]
    pub(super) data: Option<PathBuf>,
    /// With --data: which columns hold what: title=name,details=cut+color.
    #[arg(long, value_name = "FIELD=COLUMN,...", default_value = "", requires = "data")]
    pub(super) map: String,
    /// With --data: write the prices to this CSV file, too.
    #[arg(long, value_name = "FILE", requires = "data")]
    pub(super) out: Option<PathBuf>,
    /// With --data: keep part numbers in the texts, as in rows that were prepared so.
    #[arg(long, requires = "data")]
    pub(super) keep_part_numbers: bool,
    /// With --data: products at a time.
    #[arg(long, value_name = "N", default_value_t = PriceOptions::default().batch, requires = "data")]
    pub(super) batch_size: usize,
    /// Tokens of the description that are kept [default: those of the adapter's training rows, or
    /// 110].
    #[arg(long, value_name = "N")]
    pub(super) cutoff: Option<usize>,
    /// Where numbers are several tokens: the share of their probability that is followed to its
    /// end.
    #[arg(long, value_name = "P", default_value_t = PriceOptions::ONE.mass)]
    pub(super) price_mass: f64,
    #[command(flatten)]
    pub(super) model: ModelArgs,
}

fn text(args: &PredictArgs) -> Result<String> {
    let text = match (&args.file, args.text.as_deref()) {
        (Some(path), _) => {
            std::fs::read_to_string(path).with_context(|| path.display().to_string())?
        }
        (None, Some("-")) => {
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).context("reading the text from stdin")?;
            text
        }
        (None, text) => text.unwrap_or_default().to_owned(),
    };
    let text = text.trim();
    if text.is_empty() {
        return Err(Error::invalid("the description", "is empty; say what the product is").into());
    }
    Ok(text.to_owned())
}

pub(super) async fn run(session: &Session, args: &PredictArgs) -> Result<()> {
    let printer = &session.printer;
    let text = text(args)?;
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let trie = PriceTrie::new(&tokenizer)?;
    let folder = args.adapter.as_deref().map(AdapterFile::folder);
    let read = folder.map(|folder| beside::read(session, &folder)).transpose()?;
    let beside = read.unwrap_or_default();
    let question = beside.question(&tokenizer, &text, args.cutoff)?;
    question.notes.iter().for_each(|note| printer.warn(note));
    let judge = beside.texts.as_ref().and_then(Familiar::judge);
    let summary = question.summary.as_deref().unwrap_or(&text);
    let verdict = judge.map(|judge| judge.judged(&text_of(summary)));
    let longest = tokenizer.encode(&question.prompt, Special::With)?.len();
    let options = PriceOptions { longest, mass: args.price_mass, ..PriceOptions::ONE };
    let gpu = session.gpu(args.model.inspect, None).await?;
    let mut model = session.model(&gpu, &files, &args.model, options.positions()).await?;
    if let Some(path) = &args.adapter {
        session.attach(&mut model, "default", path).await?;
    }
    let mut prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
    let ids = prices.encode(&question.prompt)?;
    let priced = prices.price(&[ids]).await?.pop().context("no prompt was priced")?;
    let d = &priced.distribution;
    let answer = beside.answer(&question, &priced, &beside.word_models());
    beside.without_blend().iter().for_each(|why| printer.warn(why));
    let Answer { price, low, high, mean, mode, .. } = answer;
    let alternatives = answer.distribution.likely(5);
    printer.object(&json!({
        "price": price, "low": low, "high": high, "mean": mean, "mode": mode,
        "alternatives": alternatives
            .iter()
            .map(|(price, p)| json!({ "price": price, "probability": p }))
            .collect::<Vec<_>>(),
        "greedy": priced.guess, "text": priced.text, "mass": d.mass(),
        "temperature": beside.pricing.temperature,
        "blend": answer.blend.as_ref().map(|blend| blend.price),
        "blend_of": answer.blend.as_ref().map(|blend| &blend.parts),
        "neighbours": question.similar,
        "foreign": verdict.as_ref().map(|verdict| verdict.foreign),
    }))?;
    verdict.iter().filter_map(Verdict::warning).for_each(|warning| printer.warn(warning));
    if d.prices().is_empty() || d.mass() < 0.5 {
        printer.warn(format!(
            "the model gives only {:.0} % to answers that are a price; train it first, or pass --adapter",
            100.0 * d.mass()
        ));
    }
    printer.line(format!("${price:.0}   80 % between ${low:.0} and ${high:.0}"))?;
    let others: Vec<String> =
        alternatives.iter().map(|(price, p)| format!("${price} ({:.1} %)", 100.0 * p)).collect();
    printer.line(format!("most likely: {}", others.join(", ")))?;
    printer.line(format!(
        "mean ${mean:.2}; the model would write: {PREFIX}{}",
        priced.text.trim_end()
    ))?;
    if let Some(Blend { price, parts }) = answer.blend {
        let part = |part: &BlendPart| {
            let name = part.name.replace('_', " ");
            format!("{name} ${:.0} x {:.0} %", part.guess, 100.0 * part.weight)
        };
        let parts: Vec<String> = parts.iter().map(part).collect();
        printer.line(format!("blend ${price:.0} = {}", parts.join(" + ")))?;
    }
    for Similar { price, title } in &question.similar {
        printer.line(format!("similar: ${price:.0}  {}", prompt::title_of(title)))?;
    }
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
}
