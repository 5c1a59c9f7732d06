//! `predict --data`: a price for every product of a table.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::beside;
use super::evaluate::asked;
use super::predict::PredictArgs;
use super::rows::same_files;
use super::session::Session;
use crate::Error;
use crate::data::for_each_record;
use crate::format::{AdapterFile, PendingFile, Special};
use crate::pricer::beside::{Beside, Question, WordModels};
use crate::pricer::columns::Columns;
use crate::pricer::distribution::Priced;
use crate::pricer::familiar::{Familiar, text_of};
use crate::pricer::neighbours::title;
use crate::pricer::prompt::{summary_of, title_of};
use crate::pricer::trie::PriceTrie;
use crate::pricer::{PriceModel, PriceOptions};
use crate::train::ranks::{agree, most, on_all, share};

/// Products whose notes are shown one by one.
const NOTED: usize = 3;

/// A product without a price: its number in the table, from 1, and its text.
#[derive(Serialize, Deserialize)]
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

/// Products as `prepare` reads them, whether or not they have a price, or rows that it wrote; and
/// how many rows have no text.
fn read(path: &Path, args: &PredictArgs) -> Result<(Vec<Unpriced>, usize)> {
    let columns = Columns::parse(&args.map)?;
    let (mut products, mut row) = (Vec::new(), 0);
    for_each_record(path, |line, record| {
        row += 1;
        let prepared = record.get("prompt").and_then(|prompt| summary_of(prompt.as_str()?));
        let text = match prepared {
            Some(summary) => Ok(summary.to_owned()),
            None => {
                let product = columns.unpriced(&record);
                product.map(|product| product.cleaned(args.keep_part_numbers).summary())
            }
        };
        let bad = |why: String| Error::format(path.display(), format!("line or row {line}"), why);
        let text = text.map_err(bad)?;
        if text.is_empty() && columns.unused(&record).len() == record.len() {
            let keys = Vec::from_iter(record.keys().map(String::as_str)).join(", ");
            let why = format!(
                "no column says what the product is (there are {keys}); say which does: ‹map = title=COLUMN›"
            );
            return Err(bad(why));
        }
        if !text.is_empty() {
            products.push(Unpriced { row, text });
        }
        Ok(())
    })?;
    let empty = row - products.len();
    match products.is_empty() {
        true => Err(Error::invalid(path.display(), "there is no product in it").into()),
        false => Ok((products, empty)),
    }
}

/// The table of prices for a spreadsheet: CSV (RFC 4180), under its name when it is whole.
struct Table {
    file: PendingFile,
    path: PathBuf,
}

impl Table {
    fn create(path: &Path) -> Result<Table> {
        let mut table = Table { file: PendingFile::create(path)?, path: path.to_owned() };
        table.write("row,title,price,low,high,blend,foreign\n")?;
        Ok(table)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        Ok(self.file.file().write_all(text.as_bytes()).map_err(Error::io(&self.path))?)
    }

    fn add(&mut self, line: &Line) -> Result<()> {
        let Line { row, price, low, high, .. } = line;
        let title = format!("\"{}\"", line.title.replace('"', "\"\""));
        let blend = line.blend.map_or(String::new(), |blend| format!("{blend:.2}"));
        let foreign = line.foreign.map_or(String::new(), |foreign| foreign.to_string());
        self.write(&format!("{row},{title},{price:.2},{low:.2},{high:.2},{blend},{foreign}\n"))
    }
}

/// Every product of `data`, whose batches ranks divide.
pub(super) async fn run(session: &Session, args: &PredictArgs, data: &Path) -> Result<()> {
    let (printer, ranks) = (&session.printer, &*session.ranks);
    if args.batch_size == 0 {
        return Err(Error::invalid("--batch-size", "0 leaves nothing to do").into());
    }
    // A place that cannot be written to costs no pricing.
    let out = args.out.as_deref().filter(|_| ranks.rank() == 0);
    let mut table = out.map(Table::create).transpose()?;
    same_files(ranks, &[data.display().to_string()])?;
    let (products, empty) = on_all(ranks, || read(data, args))?;
    if empty > 0 {
        printer.warn(format!("{empty} rows have no text and are left out"));
    }
    let files = session.files(&args.model.name)?;
    let tokenizer = files.tokenizer()?;
    let trie = PriceTrie::new(&tokenizer)?;
    let folder = args.adapter.as_deref().map(AdapterFile::folder);
    let beside = folder.map(|folder| beside::read(session, &folder)).transpose()?;
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
    let facts = asked(&args.model, args.adapter.as_deref(), &tokenizer, &model)?;
    let advice = "give all hosts the same program, model and adapter";
    agree(ranks, &gpu.caps().adapter.name, &facts, advice)?;

    let judge = beside.texts.as_ref().and_then(Familiar::judge);
    let words = beside.word_models();
    beside.without_blend().iter().for_each(|why| printer.warn(why));
    let mut prices = PriceModel::new(&model, &tokenizer, &trie, options)?;
    let bar = printer.bar(products.len() as u64, "{pos:>6}/{len} {wide_bar} ETA {eta:>4}");
    let batches = Vec::from_iter(products.chunks(args.batch_size));
    let (mut noted, mut is_price) = (0, 0.0);
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
                let mut notes = question.notes.clone();
                if let Some(judge) = &judge {
                    let summary = question.summary.as_deref().unwrap_or(&product.text);
                    let verdict = judge.judged(&text_of(summary));
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
                match &mut table {
                    Some(table) => table.add(&line)?,
                    None => bar.suspend(|| printer.line(shown(&line)))?,
                }
            }
        }
    }
    bar.finish_and_clear();
    if noted > NOTED {
        printer.warn(format!("{} more notes of this kind", noted - NOTED));
    }
    let share = is_price / products.len() as f64;
    if share < 0.5 {
        printer.warn(format!(
            "the model gives only {:.0} % to answers that are a price; train it first, or pass --adapter",
            100.0 * share
        ));
    }
    if let Some(Table { file, path }) = table {
        file.sync()?;
        file.commit()?;
        printer.line(format!("{} prices in {}", products.len(), path.display()))?;
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
