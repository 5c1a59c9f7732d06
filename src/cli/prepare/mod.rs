//! `prepare`: products in any table to prompts and completions, in three files.

mod neighbours;
mod report;

use std::collections::{BTreeSet, HashSet};
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use self::neighbours::NeighbourArgs;
use self::report::{Row, Spread};
use super::charts::{self, Beside, Histogram};
use super::session::Session;
use crate::Error;
use crate::data::{Record, for_each_record};
use crate::format::PendingFile;
use crate::format::{Special, Tokenizer};
use crate::pricer::columns::Columns;
use crate::pricer::neighbours::{Known, NeighbourIndex};
use crate::pricer::product::Product;
use crate::pricer::prompt::{self, Spelling};
use crate::random::{Fnv, shuffle, stream};

/// The splits' names, as files and in reports.
const SPLITS: [&str; 3] = ["train", "validation", "test"];

/// Bytes of rows that gather before they are written.
const BUFFER: usize = 1 << 18;

/// Products (JSONL, CSV, Parquet; gzip and zstd too) to training, validation and test rows.
#[derive(Debug, Args)]
pub(super) struct PrepareArgs {
    /// The products: columns title, category, brand, description, details, price, under any names.
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// Folder for train.jsonl, validation.jsonl, test.jsonl and the report.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The model whose tokenizer cuts the summaries.
    #[arg(long)]
    model: String,
    /// Which columns hold what: price=list_price,details=cut+color.
    #[arg(long, value_name = "FIELD=COLUMN,...", default_value = "")]
    map: String,
    /// Tokens of a summary that are kept.
    #[arg(long, value_name = "N", default_value_t = prompt::CUTOFF)]
    cutoff: usize,
    /// Shares of train, validation and test.
    #[arg(long, value_name = "A,B,C", default_value = "0.9,0.05,0.05")]
    split: String,
    /// Seed of the split.
    #[arg(long, value_name = "S", default_value_t = 42)]
    seed: u64,
    /// Cheapest price that is kept.
    #[arg(long, value_name = "X", default_value_t = 0.5)]
    min_price: f64,
    /// Dearest price that is kept.
    #[arg(long, value_name = "X", default_value_t = 999.49)]
    max_price: f64,
    /// Shortest summary that is kept, in characters (the course's 600 is for its raw texts).
    #[arg(long, value_name = "N", default_value_t = 0)]
    min_chars: usize,
    /// Completions are the bare integer, without ".00".
    #[arg(long)]
    integer: bool,
    /// Do not take part numbers (seven or more capitals and digits) out of the texts.
    #[arg(long)]
    keep_part_numbers: bool,
    /// Leave out rows whose price is no number, instead of stopping at the first.
    #[arg(long)]
    skip_bad: bool,
    #[command(flatten)]
    neighbours: NeighbourArgs,
}

/// What became of the rows.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Dropped {
    no_price: usize,
    bad_price: usize,
    price_range: usize,
    too_short: usize,
    duplicate_title: usize,
    duplicate_text: usize,
}

/// Where each row of the input goes: a split, or nowhere.
const NOWHERE: u8 = 3;

fn shares(text: &str) -> Result<[f64; 3]> {
    let parts: Vec<f64> = text.split(',').map_while(|part| part.trim().parse().ok()).collect();
    let sum: f64 = parts.iter().sum();
    match <[f64; 3]>::try_from(parts) {
        Ok(parts) if parts.iter().all(|p| *p >= 0.0) && (sum - 1.0).abs() < 1e-6 => Ok(parts),
        _ => {
            let why = "is not three shares that sum to 1, as 0.9,0.05,0.05";
            Err(Error::invalid(format!("--split {text}"), why).into())
        }
    }
}

/// First pass: reads, cleans and judges every row, keeps 8 bytes of it.
struct Judge<'a> {
    args: &'a PrepareArgs,
    columns: Columns,
    /// Columns of the rows so far of which no field is made, and the columns of the last row.
    unused: BTreeSet<String>,
    keys: Vec<String>,
    titles: HashSet<u64>,
    texts: HashSet<u64>,
    dropped: Dropped,
}

impl Judge<'_> {
    /// Remembers columns that are not used. Most rows have the columns of the row before.
    fn note_unused(&mut self, record: &Record) {
        if !self.keys.iter().eq(record.keys()) {
            self.keys = record.keys().cloned().collect();
            self.unused.extend(self.columns.unused(record).into_iter().map(str::to_owned));
        }
    }

    /// The cleaned product, if the row is kept.
    fn keep(&mut self, line: usize, record: &Record) -> crate::Result<Option<Product>> {
        self.note_unused(record);
        let product = match self.columns.product(record) {
            Ok((_, true)) => {
                self.dropped.no_price += 1;
                return Ok(None);
            }
            Ok((product, false)) => product.cleaned(self.args.keep_part_numbers),
            Err(why) if self.args.skip_bad && why.starts_with("price: ") => {
                self.dropped.bad_price += 1;
                return Ok(None);
            }
            Err(why) => {
                let hint = match why.starts_with("price: ") {
                    true => "; mend the row, or leave such rows out with --skip-bad",
                    false => "",
                };
                let path = self.args.input.display();
                return Err(Error::format(
                    path,
                    format!("line or row {line}"),
                    format!("{why}{hint}"),
                ));
            }
        };
        if !(self.args.min_price..=self.args.max_price).contains(&product.price) {
            self.dropped.price_range += 1;
            return Ok(None);
        }
        let summary = product.summary();
        if summary.is_empty() || summary.chars().count() < self.args.min_chars {
            self.dropped.too_short += 1;
            return Ok(None);
        }
        if !product.title.is_empty() && !self.titles.insert(Fnv::of(product.title.as_bytes())) {
            self.dropped.duplicate_title += 1;
            return Ok(None);
        }
        if !self.texts.insert(Fnv::of(summary.as_bytes())) {
            self.dropped.duplicate_text += 1;
            return Ok(None);
        }
        Ok(Some(product))
    }
}

/// A split of every kept row, exact in number; the seed decides which.
fn assign(rows: &mut [u8], shares: [f64; 3], seed: u64) -> [usize; 3] {
    let mut kept: Vec<u32> =
        (0..rows.len() as u32).filter(|&i| rows[i as usize] != NOWHERE).collect();
    shuffle(&mut stream(seed, "split", 0), &mut kept);
    let n = kept.len() as f64;
    let ends = [(shares[0] * n).round() as usize, ((shares[0] + shares[1]) * n).round() as usize];
    let mut counts = [0; 3];
    for (i, &row) in kept.iter().enumerate() {
        let split = ends.iter().filter(|&&end| i >= end).count();
        rows[row as usize] = split as u8;
        counts[split] += 1;
    }
    counts
}

/// Second pass: tokens, prompts, files.
struct Writer<'a> {
    tokenizer: &'a Tokenizer,
    args: &'a PrepareArgs,
    neighbours: Option<&'a NeighbourIndex>,
    files: [PendingFile; 3],
    buffers: [String; 3],
    tokens: Vec<u32>,
    prices: Vec<f64>,
    cut: usize,
    longest_row: usize,
    examples: Vec<Row>,
}

impl Writer<'_> {
    fn write(&mut self, split: usize, product: &Product) -> crate::Result<()> {
        let (summary, tokens) = prompt::cut(self.tokenizer, &product.summary(), self.args.cutoff)?;
        let text = match self.neighbours {
            Some(index) => index.prompt(self.tokenizer, &summary)?,
            None => prompt::prompt(&summary),
        };
        let spelling = match (split, self.args.integer) {
            (2, _) => Spelling::Exact,
            (_, true) => Spelling::Integer,
            (_, false) => Spelling::Rounded,
        };
        let completion = prompt::completion(product.price, spelling);
        let row = self.tokenizer.encode(&format!("{text}{completion}"), Special::With)?;
        // One more for the token that ends a text.
        self.longest_row = self.longest_row.max(row.len() + 1);
        self.cut += usize::from(tokens > self.args.cutoff);
        self.tokens.push(tokens as u32);
        self.prices.push(product.price);
        let row = Row { prompt: text, completion };
        if self.examples.len() < 3 && split == 0 {
            self.examples.push(row.clone());
        }
        let path = self.args.out.join(format!("{}.jsonl", SPLITS[split]));
        let (file, buffer) = (&mut self.files[split], &mut self.buffers[split]);
        let line = serde_json::to_string(&row);
        buffer.push_str(&line.map_err(|e| Error::format(path.display(), "row", e))?);
        buffer.push('\n');
        if buffer.len() < BUFFER {
            return Ok(());
        }
        let done = file.file().write_all(buffer.as_bytes()).map_err(Error::io(path));
        buffer.clear();
        done
    }
}

pub(super) async fn run(session: &Session, args: &PrepareArgs) -> Result<()> {
    let printer = &session.printer;
    let shares = shares(&args.split)?;
    if args.cutoff == 0 {
        return Err(Error::invalid("--cutoff", "0 keeps no text; the course's is 110").into());
    }
    args.neighbours.check()?;
    let tokenizer = session.files(&args.model)?.tokenizer()?;
    let columns = Columns::parse(&args.map)?;
    let mut judge = Judge {
        args,
        columns,
        unused: BTreeSet::new(),
        keys: Vec::new(),
        titles: HashSet::new(),
        texts: HashSet::new(),
        dropped: Dropped::default(),
    };
    let bar = printer.bar(0, "{msg} {pos} rows");
    bar.set_message("reading");
    let mut rows = Vec::new();
    let read = for_each_record(&args.input, |line, record| {
        rows.push(if judge.keep(line, &record)?.is_some() { 0 } else { NOWHERE });
        bar.inc(1);
        Ok(())
    })?;
    if !judge.unused.is_empty() {
        let unused = Vec::from_iter(judge.unused.iter().map(String::as_str)).join(", ");
        printer.note(format!(
            "columns that are not used: {unused} (--map details=COLUMN+COLUMN takes them up)"
        ));
    }
    let counts = assign(&mut rows, shares, args.seed);
    if counts.iter().sum::<usize>() == 0 {
        let why =
            format!("none of its {read} rows is left: {}", serde_json::to_string(&judge.dropped)?);
        return Err(Error::invalid(args.input.display(), why).into());
    }

    let index = match args.neighbours.wanted() {
        true => Some(training_index(args, &judge.columns, &rows, &tokenizer)?),
        false => None,
    };

    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let pending = |name: &str| -> Result<_> {
        Ok(PendingFile::create(args.out.join(format!("{name}.jsonl")))?)
    };
    let mut writer = Writer {
        tokenizer: &tokenizer,
        args,
        neighbours: index.as_ref(),
        files: [pending(SPLITS[0])?, pending(SPLITS[1])?, pending(SPLITS[2])?],
        buffers: Default::default(),
        tokens: Vec::new(),
        prices: Vec::new(),
        cut: 0,
        longest_row: 0,
        examples: Vec::new(),
    };
    bar.set_message("writing");
    bar.set_position(0);
    bar.set_length(read as u64);
    // The same rows are kept, for the same reasons: judged again, only their order is known.
    let mut at = 0;
    for_each_record(&args.input, |line, record| {
        let split = usize::from(rows.get(at).copied().unwrap_or(NOWHERE));
        at += 1;
        bar.inc(1);
        if split < SPLITS.len() {
            let changed =
                |why| Error::format(args.input.display(), format!("line or row {line}"), why);
            let (product, _) = judge.columns.product(&record).map_err(changed)?;
            writer.write(split, &product.cleaned(args.keep_part_numbers))?;
        }
        Ok(())
    })?;
    bar.finish_and_clear();
    let Writer { files, buffers, tokens, prices, cut, longest_row, examples, .. } = writer;

    let tokens: Vec<f64> = tokens.into_iter().map(f64::from).collect();
    let share_cut = cut as f64 / tokens.len() as f64;
    let summary = json!({
        "input": args.input.display().to_string(),
        "model": args.model,
        "rows_read": read,
        "dropped": judge.dropped,
        "unused_columns": judge.unused,
        "train": counts[0], "validation": counts[1], "test": counts[2],
        "seed": args.seed, "cutoff": args.cutoff,
        "tokens": Spread::of(&tokens), "share_cut": share_cut,
        "price": Spread::of(&prices), "longest_row": longest_row,
        "neighbours": index.as_ref().map_or(0, |index| index.settings().neighbours),
        "neighbours_from": index.as_ref().map_or(0, |index| index.known().len()),
    });
    let charts = [
        Histogram::new(
            "Tokens of a summary, before the cut",
            "tokens",
            &tokens,
            Some(args.cutoff as f64),
        ),
        Histogram::new("Prices", "dollars", &prices, None),
    ];
    let html = report::html(&summary, &charts, &examples)?;
    let png = charts::png(&Beside(&charts), (1400, 460))?;
    let index = index.map(|index| index.with_longest_row(longest_row));
    let index_bytes = index.as_ref().map(NeighbourIndex::to_bytes).transpose()?;
    // All files are complete; now they get their names.
    for ((mut file, rest), name) in files.into_iter().zip(buffers).zip(SPLITS) {
        let path = args.out.join(format!("{name}.jsonl"));
        file.file().write_all(rest.as_bytes()).map_err(Error::io(path))?;
        file.commit()?;
    }
    neighbours::write(&args.out, index_bytes.as_deref())?;
    charts::write(&args.out.join("report.html"), html.as_bytes())?;
    charts::write(&args.out.join("report.png"), &png)?;
    charts::write(&args.out.join("prepare.json"), format!("{summary:#}\n").as_bytes())?;

    printer.object(&summary)?;
    printer.line(report::told(args.cutoff, &summary, &charts))?;
    if let Some(Row { prompt, completion }) = examples.first() {
        printer.line(format!("an example\n{}[{completion}]\n", report::indent(prompt)))?;
    }
    printer.line(format!(
        "{} train, {} validation, {} test rows in {}; report.html shows them",
        counts[0],
        counts[1],
        counts[2],
        args.out.display()
    ))?;
    match &index {
        Some(index) => printer.line(neighbours::told(index)),
        None => Ok(()),
    }
}

/// The index of the rows that are trained on, `rows` the splits of those of IN.
fn training_index(
    args: &PrepareArgs,
    columns: &Columns,
    rows: &[u8],
    tokenizer: &Tokenizer,
) -> Result<NeighbourIndex> {
    let mut own = Vec::new();
    let mut at = 0;
    if args.neighbours.from.is_none() {
        for_each_record(&args.input, |line, record| {
            let trained_on = rows.get(at) == Some(&0);
            at += 1;
            if trained_on {
                let changed =
                    |why| Error::format(args.input.display(), format!("line or row {line}"), why);
                let (product, _) = columns.product(&record).map_err(changed)?;
                let product = product.cleaned(args.keep_part_numbers);
                let (text, _) = prompt::cut(tokenizer, &product.summary(), args.cutoff)?;
                own.push(Known { text, price: product.price });
            }
            Ok(())
        })?;
    }
    let how = (args.cutoff, args.keep_part_numbers);
    args.neighbours.index(own, tokenizer, columns, how)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_are_exact_in_number_and_decided_by_the_seed() {
        let rows =
            || -> Vec<u8> { (0..1000).map(|i| if i % 10 == 0 { NOWHERE } else { 0 }).collect() };
        let (mut a, mut b, mut c) = (rows(), rows(), rows());
        assert_eq!(assign(&mut a, [0.9, 0.05, 0.05], 1), [810, 45, 45]);
        assign(&mut b, [0.9, 0.05, 0.05], 1);
        assign(&mut c, [0.9, 0.05, 0.05], 2);
        assert!(a == b && a != c);
        assert!((0..1000).step_by(10).all(|i| a[i] == NOWHERE));
        assert_eq!(assign(&mut rows(), [0.0, 0.0, 1.0], 1), [0, 0, 900]);
        assert!(
            shares("0.9,0.1").is_err()
                && shares("0.9,0.1,0.1").is_err()
                && shares("a,b,c").is_err()
        );
    }
}
