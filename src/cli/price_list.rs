//! `predict --data`: a price for every product of a table.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::beside;
use super::evaluate::adapter_hash;
use super::predict::PredictArgs;
use super::rows::same_files;
use super::session::Session;
use crate::Error;
use crate::data::for_each_record;
use crate::format::{AdapterFile, Special, write_atomic};
use crate::pricer::beside::{Beside, Question, WordModels};
use crate::pricer::columns::Columns;
use crate::pricer::distribution::Priced;
use crate::pricer::familiar::{Familiar, text_of};
use crate::pricer::neighbours::title;
use crate::pricer::prompt::{summary_of, title_of};
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};
use crate::random::Fnv;
use crate::train::ranks::{agree, most, share};

/// Products whose notes are shown one by one.
const NOTED: usize = 3;

/// A product without a price: its number in the table, from 1, and its text.
struct Unpriced {
    row: usize,
    text: String,
}

/// A product's line.
#[derive(Serialize, Deserialize)]
struct Line {
    row: usize,
    title: String,
    price: f64,
    low: f64,
    high: f64,
    mean: f64,
    mode: f64,
    greedy: f64,
    mass: f64,
    blend: Option<f64>,
    foreign: Option<bool>,
}

impl Line {
    fn of(
        product: &Unpriced,
        beside: &Beside,
        words: &WordModels,
        question: &Question,
        priced: &Priced,
    ) -> Line {
        let answer = beside.answer(question, priced, words);
        Line {
            row: product.row,
            title: title(&product.text).to_owned(),
            price: answer.price,
            low: answer.low,
            high: answer.high,
            mean: answer.mean,
            mode: answer.mode,
            greedy: priced.guess,
            mass: priced.distribution.mass(),
            blend: answer.blend.map(|blend| blend.price),
            foreign: None,
        }
    }
}

/// Products as `prepare` reads them, whether or not they have a price, or rows that it wrote.
fn read(path: &Path, map: &str) -> Result<Vec<Unpriced>> {
    let columns = Columns::parse(map)?;
    let mut products = Vec::new();
    for_each_record(path, |line, record| {
        let prepared = record.get("prompt").and_then(|prompt| summary_of(prompt.as_str()?));
        let text = match prepared {
            Some(summary) => Ok(summary.to_owned()),
            None => columns.unpriced(&record).map(|product| product.cleaned(false).summary()),
        };
        let bad = |why: String| Error::format(path.display(), format!("line or row {line}"), why);
        let text = text.map_err(bad)?;
        if text.is_empty() {
            let keys = Vec::from_iter(record.keys().map(String::as_str)).join(", ");
            let why = format!(
                "nothing says what the product is (there are {keys}); say which column does: ‹map = title=COLUMN›"
            );
            return Err(bad(why));
        }
        products.push(Unpriced { row: products.len() + 1, text });
        Ok(())
    })?;
    match products.is_empty() {
        true => Err(Error::invalid(path.display(), "there is no product in it").into()),
        false => Ok(products),
    }
}

/// Every product of `data`, whose batches ranks divide.
pub(super) async fn run(session: &Session, args: &PredictArgs, data: &Path) -> Result<()> {
    let (printer, ranks) = (&session.printer, &*session.ranks);
    if args.batch_size == 0 {
        return Err(Error::invalid("--batch-size", "0 leaves nothing to do").into());
    }
    same_files(ranks, &[data.display().to_string()])?;
    let products = read(data, &args.map)?;
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let trie = PriceTrie::new(&tokenizer)?;
    let folder = args.adapter.as_deref().map(AdapterFile::folder);
    let beside = folder.map(|folder| beside::read(printer, &folder)).transpose()?;
    let beside = beside.unwrap_or_default();
    let mut longest = 1;
    for product in &products[share(products.len(), ranks.rank(), ranks.size())] {
        let question = beside.question(&tokenizer, &product.text, args.cutoff)?;
        longest = longest.max(tokenizer.encode(&question.prompt, Special::With)?.len());
    }
    let longest = most(ranks, longest)?;
    let options = PriceOptions {
        batch: args.batch_size,
        longest,
        mass: args.price_mass,
        ..PriceOptions::default()
    };
    let inspect = args.model.inspect;
    let gpu = session.gpu_of_rank(inspect, session.tuned_gpu(inspect)).await?;
    let mut model = session.model(&gpu, &files, &args.model, options.positions()).await?;
    if let Some(path) = &args.adapter {
        session.attach(&mut model, "default", path).await?;
    }
    let hash = products.iter().fold(Fnv::default(), |hash, p| hash.with(p.text.as_bytes()));
    let facts = [
        ("the program's version", env!("CARGO_PKG_VERSION").to_owned()),
        ("products", format!("{:016x}", hash.finish())),
        ("adapter", format!("{:016x}", adapter_hash(args.adapter.as_deref())?)),
        ("base weights", model.fingerprint()),
    ];
    let facts: BTreeMap<String, String> = facts.map(|(name, fact)| (name.to_owned(), fact)).into();
    let advice = "give all hosts the same program, model, adapter and products";
    agree(ranks, &gpu.caps().adapter.name, &facts, advice)?;

    let judge = beside.texts.as_ref().and_then(Familiar::judge);
    let words = beside.word_models();
    beside.without_blend().iter().for_each(|why| printer.warn(why));
    let mut prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
    let bar = printer.bar(products.len() as u64, "{pos:>6}/{len} {wide_bar} ETA {eta:>4}");
    let batches = Vec::from_iter(products.chunks(args.batch_size));
    let (mut lines, mut noted, mut is_price) = (Vec::new(), 0, 0.0);
    for round in batches.chunks(ranks.size()) {
        let mut own: Vec<(Line, Vec<String>)> = Vec::new();
        if let Some(batch) = round.get(ranks.rank()) {
            let ask = |p: &Unpriced| beside.question(&tokenizer, &p.text, args.cutoff);
            let questions = batch.iter().map(ask).collect::<crate::Result<Vec<_>>>()?;
            let ids = questions.iter().map(|question| prices.encode(&question.prompt));
            let ids = ids.collect::<crate::Result<Vec<_>>>()?;
            let priced = prices.price(&ids).await?;
            for ((product, question), priced) in batch.iter().zip(questions).zip(&priced) {
                let mut line = Line::of(product, &beside, &words, &question, priced);
                let mut notes = question.notes;
                if let Some(judge) = &judge {
                    let verdict = judge.judged(&text_of(&product.text));
                    line.foreign = Some(verdict.foreign);
                    notes.extend(verdict.warning());
                }
                own.push((line, notes));
            }
        }
        for made in ranks.all_gather(&serde_json::to_vec(&own)?)? {
            let made: Vec<(Line, Vec<String>)> = serde_json::from_slice(&made)?;
            for (line, notes) in made {
                for note in notes {
                    noted += 1;
                    if noted <= NOTED {
                        bar.suspend(|| printer.warn(format!("row {}: {note}", line.row)));
                    }
                }
                bar.inc(1);
                is_price += line.mass;
                printer.object(&line)?;
                bar.suspend(|| printer.line(shown(&line)))?;
                lines.push(line);
            }
        }
    }
    bar.finish_and_clear();
    if noted > NOTED {
        printer.warn(format!("as much is to be said of {} more", noted - NOTED));
    }
    let share = is_price / lines.len().max(1) as f64;
    if share < 0.5 {
        printer.warn(format!(
            "the model gives only {:.0} % to answers that are a price; train it first, or pass --adapter",
            100.0 * share
        ));
    }
    if let Some(out) = args.out.as_deref().filter(|_| ranks.rank() == 0) {
        write(out, &lines)?;
        printer.line(format!("{} prices in {}", lines.len(), out.display()))?;
    }
    session.finish_profile(&gpu, inspect);
    Ok(())
}

fn shown(line: &Line) -> String {
    let Line { price, low, high, .. } = line;
    let title = title_of(&line.title);
    let blend = line.blend.map_or(String::new(), |blend| format!("  blend ${blend:.0}"));
    let foreign = if line.foreign == Some(true) { "  foreign to the adapter:" } else { "" };
    format!("${price:<5.0} 80 % between ${low:.0} and ${high:.0}{blend}{foreign}  {title}")
}

/// The lines as CSV (RFC 4180), for a spreadsheet.
fn write(out: &Path, lines: &[Line]) -> Result<()> {
    let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let mut text = String::from("row,title,price,low,high,blend,foreign\n");
    for line in lines {
        let Line { row, title, price, low, high, .. } = line;
        let blend = line.blend.map_or(String::new(), |blend| format!("{blend:.2}"));
        let foreign = line.foreign.map_or(String::new(), |foreign| foreign.to_string());
        let title = quoted(title);
        text += &format!("{row},{title},{price:.2},{low:.2},{high:.2},{blend},{foreign}\n");
    }
    let failed = || out.display().to_string();
    write_atomic(out, |file| file.write_all(text.as_bytes()).map_err(Error::io(out)))
        .with_context(failed)
}
