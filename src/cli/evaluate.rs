//! `evaluate`: the course's evaluator over base model, fine-tuned model and baselines.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use super::args::{Inspect, PrecisionArg, QuantArg};
use super::evaluate_report::{self, Outcome, Report};
use super::model::{Files, Session, attach};
use super::predictions::{Basis, Prediction, Predictions};
use crate::Error;
use crate::data::records::for_each_record;
use crate::format::Tokenizer;
use crate::model::Model;
use crate::pricer::baselines::fit_and_guess;
use crate::pricer::dollars::dollars;
use crate::pricer::metrics::{Colour, Guess};
use crate::pricer::prompt::title_of;
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};
use crate::random::Fnv;

/// Batches whose prompts are put in order of length together, so that little is padded.
const WINDOW: usize = 8;

/// Judge a model on products whose price is known.
#[derive(Debug, Args)]
pub(super) struct EvaluateArgs {
    /// The base model: a folder with config.json, safetensors and tokenizer.json.
    #[arg(long)]
    pub(super) model: String,
    /// The fine-tuned adapter, a PEFT folder; the base model is judged beside it.
    #[arg(long)]
    pub(super) adapter: Option<String>,
    /// Test rows: {"prompt", "completion"} as `prepare` writes them.
    #[arg(long, value_name = "FILE")]
    pub(super) data: PathBuf,
    /// Training rows: the baselines are fitted on them.
    #[arg(long, value_name = "FILE")]
    pub(super) train_data: Option<PathBuf>,
    /// Only the first N test rows (the course: 200).
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<usize>,
    /// Folder for report.json, report.html, report.png and predictions.jsonl.
    #[arg(long, value_name = "DIR")]
    pub(super) out: PathBuf,
    /// Do not judge the base model beside the adapter.
    #[arg(long)]
    pub(super) skip_base: bool,
    /// Prompts in a forward pass.
    #[arg(long, value_name = "N", default_value_t = 8)]
    pub(super) batch_size: usize,
    /// Tokens of the greedy answer.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub(super) max_new_tokens: usize,
    /// Where numbers are several tokens: the share of their probability that is followed to its end.
    #[arg(long, value_name = "P", default_value_t = 0.95)]
    pub(super) price_mass: f64,
    /// Frozen linear layers: nf4 or none (the checkpoint's precision).
    #[arg(long, value_enum, default_value = "nf4")]
    pub(super) quant: QuantArg,
    /// How exactly products are computed.
    #[arg(long, value_enum, default_value_t)]
    pub(super) precision: PrecisionArg,
    /// Forget the predictions of an interrupted evaluation.
    #[arg(long)]
    pub(super) restart: bool,
    #[command(flatten)]
    pub(super) inspect: Inspect,
}

/// A product whose price is known.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) prompt: String,
    pub(super) title: String,
    pub(super) truth: f64,
}

/// Rows of prompt and completion, the price being the whole completion.
fn known(path: &Path, limit: Option<usize>) -> Result<Vec<Known>> {
    let mut rows = Vec::new();
    let limit = limit.unwrap_or(usize::MAX);
    for_each_record(path, |line, record| {
        if rows.len() >= limit {
            return Ok(());
        }
        let bad = |why: String| Error::format(path.display(), format!("line or row {line}"), why);
        let text = |key: &str| {
            let value = record.get(key).and_then(|value| value.as_str());
            value.ok_or_else(|| {
                bad(format!("no text called `{key}`; `wgpu-lora prepare` makes such rows"))
            })
        };
        let (prompt, completion) = (text("prompt")?, text("completion")?);
        let truth = dollars(completion).map_err(|why| bad(format!("completion: {why}")))?;
        rows.push(Known { prompt: prompt.to_owned(), title: title_of(prompt), truth });
        Ok(())
    })?;
    match rows.is_empty() {
        true => Err(Error::invalid(path.display(), "there is no row to evaluate").into()),
        false => Ok(rows),
    }
}

/// What predictions depend on, so that those of an interrupted evaluation are used only for the same.
fn basis(
    args: &EvaluateArgs,
    rows: &[Known],
    tokenizer: &Tokenizer,
    model: &Model,
) -> Result<Basis> {
    let of_rows = rows.iter().fold(Fnv::default(), |hash, row| {
        hash.with(row.prompt.as_bytes()).with(&row.truth.to_le_bytes())
    });
    let mut of_adapter = Fnv::default();
    if let Some(adapter) = &args.adapter {
        for name in ["adapter_config.json", "adapter_model.safetensors"] {
            let path = Path::new(adapter).join(name);
            let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
            of_adapter = of_adapter.with(&bytes);
        }
    }
    let of_config = Fnv::of(format!("{:?}", model.config()).as_bytes());
    let of_tokenizer = Fnv::of(tokenizer.to_json()?.as_bytes());
    let hashes = [
        ("rows", of_rows.finish()),
        ("adapter", of_adapter.finish()),
        ("configuration", of_config),
        ("tokenizer", of_tokenizer),
    ];
    let values = [
        ("base weights", model.fingerprint()),
        ("--quant", format!("{:?}", args.quant)),
        ("--precision", format!("{:?}", args.precision)),
        ("--max-new-tokens", args.max_new_tokens.to_string()),
        ("--price-mass", args.price_mass.to_string()),
    ];
    let hashes = hashes.map(|(name, hash)| (name, format!("{hash:016x}")));
    Ok(hashes.into_iter().chain(values).map(|(name, value)| (name.to_owned(), value)).collect())
}

pub(super) async fn run(session: &Session, args: &EvaluateArgs) -> Result<()> {
    let printer = &session.printer;
    let clock = std::time::Instant::now();
    if args.limit == Some(0) || args.batch_size == 0 {
        return Err(Error::invalid("--limit, --batch-size", "0 leaves nothing to do").into());
    }
    let rows = known(&args.data, args.limit)?;
    let files = Files::open(&args.model)?;
    let tokenizer = files.tokenizer()?;
    let trie = PriceTrie::new(&tokenizer)?;
    let mut longest = 1;
    for row in &rows {
        longest = longest.max(tokenizer.encode(&row.prompt, true)?.len());
    }
    let options = PriceOptions {
        batch: args.batch_size,
        longest,
        max_new_tokens: args.max_new_tokens,
        mass: args.price_mass,
    };
    let baselines = match &args.train_data {
        None => Vec::new(),
        Some(path) => {
            let train = known(path, None)?;
            printer.note(format!("fitting the baselines on {} rows", train.len()));
            let train: Vec<(&str, f64)> =
                train.iter().map(|r| (r.prompt.as_str(), r.truth)).collect();
            let test: Vec<&str> = rows.iter().map(|row| row.prompt.as_str()).collect();
            fit_and_guess(&train, &test)
        }
    };
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let gpu = session.tuned_gpu(args.inspect).await?;
    printer.note(format!("device: {} ({})", gpu.caps().adapter.name, gpu.caps().adapter.backend));
    let mut model = session.load(&gpu, &files, args.quant.into(), options.positions()).await?;
    model.set_precision(args.precision.into());
    if let Some(path) = &args.adapter {
        attach(printer, &mut model, "fine_tuned", path).await?;
    }
    let basis = basis(args, &rows, &tokenizer, &model)?;
    let mut predictions = Predictions::open(&args.out, &basis, args.restart)?;
    predictions.note().iter().for_each(|note| printer.note(note));
    let mut order: Vec<&'static str> = Vec::new();
    if args.adapter.is_none() || !args.skip_base {
        order.push("base");
    }
    if args.adapter.is_some() {
        order.push("fine_tuned");
    }
    let mut models: BTreeMap<&'static str, Vec<Prediction>> = BTreeMap::new();
    for name in order {
        model.set_adapter((name == "fine_tuned").then_some(name))?;
        let prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
        let all = judge(session, name, &rows, prices, options, &mut predictions).await?;
        models.insert(name, all);
    }
    session.finish_profile(&gpu, args.inspect);
    let outcome = Outcome { rows: &rows, models, baselines };
    let report = Report::of(&outcome, args, clock.elapsed().as_secs_f64());
    evaluate_report::write(&args.out, &outcome, &report)?;
    predictions.finish()?;
    printer.object(&report)?;
    printer.line(report.table())?;
    printer.line(format!("report: {}", args.out.join("report.html").display()))
}

/// All rows with one model: predictions of before are kept, the others made batch by batch.
async fn judge(
    session: &Session,
    name: &'static str,
    rows: &[Known],
    mut prices: PriceModel<'_>,
    options: PriceOptions,
    predictions: &mut Predictions,
) -> Result<Vec<Prediction>> {
    let printer = &session.printer;
    let mut done: BTreeMap<usize, Prediction> = predictions.of(name);
    let title = if name == "base" { "base model" } else { "fine-tuned model" };
    printer.note(format!("{title}: {} products", rows.len()));
    let bar = printer.bar(rows.len() as u64, "{pos:>6}/{len} {wide_bar} {msg} ETA {eta:>4}");
    bar.set_position(done.len() as u64);
    bar.reset_eta();
    let left: Vec<usize> = (0..rows.len()).filter(|i| !done.contains_key(i)).collect();
    let mut errors: Vec<f64> = done.values().map(|p| (p.guess - rows[p.row].truth).abs()).collect();
    for window in left.chunks(options.batch * WINDOW) {
        let mut prompts = Vec::new();
        for &row in window {
            prompts.push((row, prices.encode(&rows[row].prompt)?));
        }
        prompts.sort_by_key(|(row, ids)| (ids.len(), *row));
        for batch in prompts.chunks(options.batch) {
            let ids: Vec<Vec<u32>> = batch.iter().map(|(_, ids)| ids.clone()).collect();
            let priced = prices.price(&ids).await?;
            let made: Vec<Prediction> = batch
                .iter()
                .zip(priced)
                .map(|((row, _), p)| Prediction::new(name, *row, &p))
                .collect();
            predictions.add(&made)?;
            for prediction in made {
                let row = &rows[prediction.row];
                errors.push((prediction.guess - row.truth).abs());
                bar.inc(1);
                bar.set_message(format!(
                    "MAE ${:.2}",
                    errors.iter().sum::<f64>() / errors.len() as f64
                ));
                printer.object(&prediction.line(row))?;
                let line = shown(&prediction, row);
                bar.suspend(|| printer.line(line))?;
                done.insert(prediction.row, prediction);
            }
        }
    }
    bar.finish_and_clear();
    Ok(done.into_values().collect())
}

/// The course's line, in its colour where colours are seen.
fn shown(prediction: &Prediction, row: &Known) -> String {
    let Guess { guess, truth } = Guess { guess: prediction.guess, truth: row.truth };
    let colour = Colour::of(guess, truth);
    let text = format!(
        "{:>5}  guess ${guess:>8.2}  median ${:>4.0}  truth ${truth:>8.2}  error ${:>8.2}  {}",
        prediction.row + 1,
        prediction.median,
        (guess - truth).abs(),
        row.title
    );
    if !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some() {
        return format!("{:<6} {text}", colour.name());
    }
    let code = match colour {
        Colour::Green => 92,
        Colour::Orange => 93,
        Colour::Red => 91,
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
