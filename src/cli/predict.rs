//! `predict`: what a product costs, how sure the model is, and what else it could cost.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use serde_json::json;

use super::args::ModelArgs;
use super::beside;
use super::printer::Printer;
use super::session::Session;
use crate::Error;
use crate::format::Special;
use crate::pricer::baselines::fit_and_guess_some;
use crate::pricer::blend::{INTERVAL, PRICER_FILE, Pricing};
use crate::pricer::neighbours::{INDEX_FILE, NeighbourIndex};
use crate::pricer::prompt::{self, CUTOFF, PREFIX};
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};

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
    /// Tokens of the description that are kept [default: those of the adapter's training rows, or
    /// 110].
    #[arg(long, value_name = "N")]
    cutoff: Option<usize>,
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
    let folder = args.adapter.as_deref().map(Path::new);
    let pricing = folder.map(beside::pricing).transpose()?.unwrap_or_default();
    let index = match folder {
        Some(folder) => beside::index(printer, folder, &pricing)?,
        None => None,
    };
    let trained_on = index.as_ref().map(|index| index.settings().cutoff);
    let cutoff = args.cutoff.or(trained_on).unwrap_or(CUTOFF);
    let (summary, tokens) = prompt::cut(&tokenizer, summary, cutoff)?;
    if tokens > cutoff {
        printer.warn(format!("the description has {tokens} tokens; the first {cutoff} are used"));
    }
    let question = match &index {
        Some(index) => index.prompt(&tokenizer, &summary)?,
        None => prompt::prompt(&summary),
    };
    let longest = tokenizer.encode(&question, Special::With)?.len();
    let options = PriceOptions { batch: 1, longest, mass: args.price_mass, ..Default::default() };
    let gpu = session.gpu(args.model.inspect, None).await?;
    let mut model = session.model(&gpu, &files, &args.model, options.positions()).await?;
    if let Some(path) = &args.adapter {
        session.attach(&mut model, "default", path).await?;
    }
    let mut prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
    let ids = prices.encode(&question)?;
    let priced = prices.price(&[ids]).await?.pop().context("no prompt was priced")?;
    let d = &priced.distribution;
    let interval = d.tempered(pricing.temperature.unwrap_or(1.0));
    let (low, high) = (interval.quantile(INTERVAL.0), interval.quantile(INTERVAL.1));
    let nearest = index.as_ref().map_or(Vec::new(), |index| index.nearest(&summary));
    let blend = blend(printer, &pricing, index.as_ref(), &summary, d.median());
    let alternatives = d.likely(5);
    printer.object(&json!({
        "price": d.median(), "low": low, "high": high, "mean": d.mean(), "mode": d.mode(),
        "alternatives": alternatives
            .iter()
            .map(|(price, p)| json!({ "price": price, "probability": p }))
            .collect::<Vec<_>>(),
        "greedy": priced.guess, "text": priced.text, "mass": d.mass(),
        "temperature": pricing.temperature, "blend": blend,
        "neighbours": nearest
            .iter()
            .map(|known| json!({ "price": known.price, "title": prompt::title_of(&known.text) }))
            .collect::<Vec<_>>(),
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
    if let Some(blend) = blend {
        printer.line(format!("blended with neighbours and words: ${blend:.0}"))?;
    }
    for known in nearest {
        let title = prompt::title_of(&known.text);
        printer.line(format!("similar: ${:.0}  {title}", known.price))?;
    }
    session.finish_profile(&gpu, args.model.inspect);
    Ok(())
}

/// The blend whose weights lie beside the adapter; what it weighs is fitted on the index's
/// products.
fn blend(
    printer: &Printer,
    pricing: &Pricing,
    index: Option<&NeighbourIndex>,
    summary: &str,
    median: f64,
) -> Option<f64> {
    let weight = |name: &str| pricing.blend.get(name).copied().unwrap_or(0.0);
    if pricing.blend.is_empty() {
        return None;
    }
    let Some(index) = index else {
        printer.warn(format!(
            "{PRICER_FILE} has a blend, but there is no {INDEX_FILE}, on whose products its word models are fitted: \
             prepare the rows with neighbours to have one"
        ));
        return None;
    };
    let known = index.known().iter().map(|known| (known.text.as_str(), known.price));
    let wanted = |name: &str| weight(name) > 0.005;
    let guesses = fit_and_guess_some(
        &known.collect::<Vec<_>>(),
        &[summary],
        index.settings().neighbours,
        wanted,
    );
    let others: f64 = guesses.iter().map(|b| weight(b.name) * b.guesses[0]).sum();
    let weights: f64 = guesses.iter().map(|b| weight(b.name)).sum();
    let own = weight("fine_tuned");
    Some((own * median + others) / (own + weights))
}
