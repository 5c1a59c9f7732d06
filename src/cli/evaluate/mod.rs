//! `evaluate`: the course's evaluator over base model, fine-tuned model and baselines.

mod args;
mod fitted;
mod judged;
mod known;
mod names;
mod overlap;
mod pictures;
mod predictions;
mod report;
mod text;

use std::collections::BTreeMap;
use std::io::IsTerminal;

use anyhow::Result;

pub(super) use self::args::EvaluateArgs;
use self::args::Task;
use self::fitted::{Guesses, fit};
pub(super) use self::judged::asked;
use self::known::{Known, known, with_neighbours};
use self::predictions::{Basis, How, Prediction, Predictions};
use self::report::{Outcome, Report};
use super::beside;
use super::session::Session;
use crate::Error;
use crate::format::{AdapterFile, Special, Tokenizer};
use crate::model::Model;
use crate::pricer::beside::Beside;
use crate::pricer::metrics::Colour;
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};
use crate::random::Fnv;
use crate::train::ranks::{agree, broadcast_text, most, share};

/// Batches whose prompts are put in order of length together, so that little is padded.
const WINDOW: usize = 8;

/// What predictions depend on, so that those of an interrupted evaluation are used only for the
/// same.
fn basis(
    args: &EvaluateArgs,
    rows: &[Known],
    tokenizer: &Tokenizer,
    model: &Model,
    temperature: f64,
) -> Result<Basis> {
    let of_rows = rows.iter().fold(Fnv::default(), |hash, row| {
        hash.with(row.prompt.as_bytes()).with(&row.truth.to_le_bytes())
    });
    let of_rows = format!("{:016x}", of_rows.finish());
    let mut basis = judged::basis(args, of_rows, tokenizer, model)?;
    basis.insert("--price-mass".into(), args.price_mass.to_string());
    basis.insert("temperature".into(), temperature.to_string());
    Ok(basis)
}

pub(super) async fn run(session: &Session, args: &EvaluateArgs) -> Result<()> {
    let printer = &session.printer;
    let clock = std::time::Instant::now();
    if args.limit == Some(0) || args.batch_size == 0 {
        return Err(Error::invalid("--limit, --batch-size", "0 leaves nothing to do").into());
    }
    if args.task == Task::Text {
        return text::run(session, args).await;
    }
    if args.extract.is_some() || !args.map.is_empty() {
        let why = "is for --task text; prices are read by the course's parser";
        return Err(Error::invalid("--extract, --map", why).into());
    }
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let trie = PriceTrie::new(&tokenizer)?;
    let folder = args.adapter.as_deref().map(AdapterFile::folder);
    let folder = folder.as_deref();
    let ranks = &*session.ranks;
    let read = folder.map(|folder| beside::read(session, folder)).transpose()?;
    let Beside { mut pricing, index, .. } = read.unwrap_or_default();
    let mut rows = known(ranks, &args.data, args.limit)?;
    let mut validation = match &args.validation_data {
        Some(path) => known(ranks, path, None)?,
        None => Vec::new(),
    };
    let train = args.train_data.as_ref().map(|path| known(ranks, path, None)).transpose()?;
    let guesses = Guesses::fit(printer, train, index.as_ref(), &rows, &validation);
    with_neighbours(&mut rows, index.as_ref(), &tokenizer)?;
    with_neighbours(&mut validation, index.as_ref(), &tokenizer)?;
    let mut longest = 1;
    let all = Vec::from_iter(rows.iter().chain(&validation));
    for row in &all[share(all.len(), ranks.rank(), ranks.size())] {
        longest = longest.max(tokenizer.encode(&row.prompt, Special::With)?.len());
    }
    let longest = most(ranks, longest)?;
    let options = PriceOptions {
        batch: args.batch_size,
        longest,
        max_new_tokens: args.answer_tokens(),
        mass: args.price_mass,
    };
    let first = ranks.rank() == 0;
    let (gpu, mut model) = judged::open(session, args, &files, options.positions()).await?;
    let open = |file: &str, basis: &Basis| -> Result<Option<Predictions>> {
        let adapter = &gpu.caps().adapter.name;
        agree(ranks, adapter, basis, judged::ADVICE)?;
        if !first {
            return Ok(None);
        }
        let predictions = Predictions::open(&args.out, file, basis, args.restart)?;
        predictions.note().iter().for_each(|note| printer.note(note));
        Ok(Some(predictions))
    };
    let plain = How { temperature: 1.0, whole: false };
    if let Some(folder) = folder.filter(|_| !validation.is_empty()) {
        let mut predictions =
            open("validation", &basis(args, &validation, &tokenizer, &model, 1.0)?)?;
        model.set_adapter(Some("fine_tuned"))?;
        let prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
        let how = How { whole: true, ..plain };
        let all =
            judge(session, "fine_tuned", (&validation, how), prices, options, &mut predictions);
        let all = all.await?;
        fit(&mut pricing, &validation, &all, &guesses);
        if let Some(predictions) = predictions {
            predictions.finish()?;
            beside::write_pricing(folder, &pricing)?;
        }
        printer.note(format!(
            "fitted on {} validation rows: {}",
            all.len(),
            fitted::told(&pricing)
        ));
    }
    let temperature = pricing.temperature.unwrap_or(1.0);
    let mut predictions =
        open("predictions", &basis(args, &rows, &tokenizer, &model, temperature)?)?;
    let mut models: BTreeMap<&'static str, Vec<Prediction>> = BTreeMap::new();
    for name in args.judged() {
        let tuned = name == "fine_tuned";
        model.set_adapter(tuned.then_some(name))?;
        let prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
        let how = if tuned { How { temperature, ..plain } } else { plain };
        let all = judge(session, name, (&rows, how), prices, options, &mut predictions).await?;
        models.insert(name, all);
    }
    let mut baselines = guesses.of_test;
    if let Some(all) = models.get("fine_tuned") {
        let medians: Vec<f64> = all.iter().map(|p| p.median).collect();
        baselines.extend(fitted::blend(&pricing.blend, &baselines, &medians));
    }
    session.finish_profile(&gpu, args.model.inspect);
    let Some(predictions) = predictions else { return Ok(()) };
    let outcome = Outcome { rows: &rows, models, baselines };
    let report = Report::of(&outcome, args, &pricing, clock.elapsed().as_secs_f64());
    report::write(&args.out, &outcome, &report)?;
    predictions.finish()?;
    printer.object(&report)?;
    printer.line(report.table())?;
    printer.line(format!("report: {}", args.out.join("report.html").display()))
}

/// All rows with one model: predictions of before are kept, the others made batch by batch, as many
/// at a time as there are ranks. Rank 0 has the predictions of before, and writes the new ones.
async fn judge(
    session: &Session,
    name: &'static str,
    (rows, how): (&[Known], How),
    mut prices: PriceModel<'_>,
    options: PriceOptions,
    predictions: &mut Option<Predictions>,
) -> Result<Vec<Prediction>> {
    let (printer, ranks) = (&session.printer, &*session.ranks);
    let before = predictions.as_ref().map(|made| made.of(name)).unwrap_or_default();
    let before = broadcast_text(ranks, serde_json::to_string(&before)?)?;
    let mut done: BTreeMap<usize, Prediction> = serde_json::from_str(&before)?;
    let title = if name == "base" { "base model" } else { "fine-tuned model" };
    printer.note(format!("{title}: {} products", rows.len()));
    let bar = printer.bar(rows.len() as u64, "{pos:>6}/{len} {wide_bar} {msg} ETA {eta:>4}");
    bar.set_position(done.len() as u64);
    bar.reset_eta();
    let left: Vec<usize> = (0..rows.len()).filter(|i| !done.contains_key(i)).collect();
    let mut errors: Vec<f64> =
        done.values().map(|p| (p.median - rows[p.row].truth).abs()).collect();
    let mut batches: Vec<Vec<(usize, Vec<u32>)>> = Vec::new();
    for window in left.chunks(options.batch * WINDOW) {
        let mut prompts = Vec::new();
        for &row in window {
            prompts.push((row, prices.encode(&rows[row].prompt)?));
        }
        prompts.sort_by_key(|(row, ids)| (ids.len(), *row));
        batches.extend(prompts.chunks(options.batch).map(<[_]>::to_vec));
    }
    for round in batches.chunks(ranks.size()) {
        let mut own: Vec<Prediction> = Vec::new();
        if let Some(batch) = round.get(ranks.rank()) {
            let ids: Vec<Vec<u32>> = batch.iter().map(|(_, ids)| ids.clone()).collect();
            let priced = prices.price(&ids).await?;
            let made = batch.iter().zip(priced);
            own.extend(made.map(|((row, _), p)| Prediction::new(name, *row, &p, how)));
        }
        for made in ranks.all_gather(&serde_json::to_vec(&own)?)? {
            let made: Vec<Prediction> = serde_json::from_slice(&made)?;
            if let Some(predictions) = predictions {
                predictions.add(&made)?;
            }
            for prediction in made {
                let row = &rows[prediction.row];
                errors.push((prediction.median - row.truth).abs());
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
    let (median, truth) = (prediction.median, row.truth);
    let colour = Colour::of(median, truth);
    let text = format!(
        "{:>5}  guess ${median:>4.0}  written ${:>8.2}  truth ${truth:>8.2}  error ${:>8.2}  {}",
        prediction.row + 1,
        prediction.guess,
        (median - truth).abs(),
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
