//! `predict`: what a product costs, how sure the model is, and what else it could cost.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::args::ModelArgs;
use super::session::Session;
use crate::Error;
use crate::format::Special;
use crate::pricer::prompt::{self, CUTOFF, PREFIX};
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};

/// The interval's ends as quantiles: 80 % of the probability lies between.
const INTERVAL: (f64, f64) = (0.1, 0.9);

/// A price from a description, with an interval and alternatives.
#[derive(Debug, Args)]
pub(super) struct PredictArgs {
    /// The fine-tuned adapter, a PEFT folder.
    #[arg(long)]
    adapter: Option<String>,
    /// The product's description, best as `prepare` writes it (Title: …); `-` reads it from stdin.
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    text: Option<String>,
    /// A file that holds the description.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Tokens of the description that are kept.
    #[arg(long, value_name = "N", default_value_t = CUTOFF)]
    cutoff: usize,
    /// Where numbers are several tokens: the share of their probability that is followed to its
    /// end.
    #[arg(long, value_name = "P", default_value_t = 0.99)]
    price_mass: f64,
    #[command(flatten)]
    model: ModelArgs,
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
    // What already is a prompt stays one.
    let summary = prompt::summary_of(&text).unwrap_or(&text);
    let (summary, tokens) = prompt::cut(&tokenizer, summary, args.cutoff)?;
    if tokens > args.cutoff {
        printer.warn(format!(
            "the description has {tokens} tokens; the first {} are used",
            args.cutoff
        ));
    }
    let longest = tokenizer.encode(&prompt::prompt(&summary), Special::With)?.len();
    let options = PriceOptions { batch: 1, longest, mass: args.price_mass, ..Default::default() };
    let gpu = session.gpu(args.model.inspect, None).await?;
    let mut model = session.model(&gpu, &files, &args.model, options.positions()).await?;
    if let Some(path) = &args.adapter {
        session.attach(&mut model, "default", path).await?;
    }
    let mut prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
    let ids = prices.encode(&prompt::prompt(&summary))?;
    let priced = prices.price(&[ids]).await?.pop().context("no prompt was priced")?;
    let d = &priced.distribution;
    let (low, high) = (d.quantile(INTERVAL.0), d.quantile(INTERVAL.1));
    let alternatives = d.likely(5);
    printer.object(&json!({
        "price": d.median(), "low": low, "high": high, "mean": d.mean(), "mode": d.mode(),
        "alternatives": alternatives
            .iter()
            .map(|(price, p)| json!({ "price": price, "probability": p }))
            .collect::<Vec<_>>(),
        "greedy": priced.guess, "text": priced.text, "mass": d.mass(),
    }))?;
    if d.prices().is_empty() || d.mass() < 0.5 {
        printer.warn(format!(
            "the model gives only {:.0} % to answers that are a price; train it first, or pass --adapter",
            100.0 * d.mass()
        ));
    }
    printer.line(format!("${:.0}   80 % between ${low:.0} and ${high:.0}", d.median()))?;
    let others: Vec<String> =
        alternatives.iter().map(|(price, p)| format!("${price} ({:.1} %)", 100.0 * p)).collect();
    printer.line(format!("most likely: {}", others.join(", ")))?;
    printer.line(format!(
        "mean ${:.2}; the model would write: {PREFIX}{}",
        d.mean(),
        priced.text.trim_end()
    ))?;
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
}
