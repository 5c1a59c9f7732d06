//! Training rows, tokenized and masked as TRL's `SFTTrainer` does. Their tokens go to a `Store`;
//! memory holds 16 bytes a row.

use super::encode::{self, Encode, LossOn, to_u32};
use super::records::{self, Record};
use super::report::DatasetReport;
use super::rows::{ColumnMap, Row};
use super::soft::{NumberTerm, Numbers, SoftTargets};
use super::store::Store;
use super::tokenized_row::{TokenizedRow, targets};
use super::turns::Template;
use crate::format::RowFormat;
use crate::random::{Fnv, shuffle, stream};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::io::BufRead;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Tokens kept of a row where nothing else is said: TRL's number.
pub const MAX_LENGTH: usize = 1024;

/// How rows become tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetOptions {
    /// Tokens kept per row, from its start; the rest is cut off (EOS included).
    pub max_length: usize,
    /// Which tokens are targets.
    pub loss: LossOn,
    /// What beside cross-entropy judges numbers among the targets.
    pub numbers: Option<NumberTerm>,
    /// Which columns of the file are read as which keys.
    pub columns: ColumnMap,
    /// Where the tokens of many rows (beyond 64 MiB) wait, in a file without a name; `None`: where
    /// the system keeps temporary files, which may be its memory.
    pub spool: Option<PathBuf>,
}

impl Default for DatasetOptions {
    fn default() -> DatasetOptions {
        let (loss, columns) = (LossOn::Completion, ColumnMap::default());
        DatasetOptions { max_length: MAX_LENGTH, loss, numbers: None, columns, spool: None }
    }
}

/// What memory holds of a row.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Its place in the store: file, line, number of spans, spans, ids.
    at: u64,
    length: u32,
    targets: u32,
}

/// Tokenized rows: 16 to 20 bytes a row in memory, the tokens beyond 64 MiB in a temporary file.
#[derive(Debug, Default)]
pub struct Dataset {
    store: Arc<Store>,
    entries: Vec<Entry>,
    pub(super) names: Vec<String>,
    pub(super) report: DatasetReport,
    hash: Fnv,
    /// The largest id, and the first row that has it.
    largest: Option<(u32, usize)>,
    /// Read from the tokenizer with the first row of messages.
    chat: Option<Template>,
    /// Read from the tokenizer with the first row.
    pub(super) numbers: Option<Numbers>,
    /// Where numbers are judged: entries of each row's soft targets.
    soft_entries: Vec<u32>,
    /// Columns that no row is made of.
    pub(super) unread: BTreeSet<String>,
    /// Rows in the dataset by their kind.
    pub(super) formats: BTreeMap<RowFormat, usize>,
}

impl Dataset {
    /// Reads and tokenizes files, in order: JSONL, JSON, CSV or Parquet, plain or compressed
    /// ([`records::for_each_record`]).
    ///
    /// **Errors** [`Error::Io`] if a file cannot be read; [`Error::Format`] with file and line for
    /// records that cannot be read or are no known kind of row, and empty files; [`Error::Invalid`]
    /// if no row has a target.
    pub fn open<P: AsRef<Path>>(
        paths: &[P],
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<Dataset> {
        let mut dataset = Dataset::default();
        for path in paths {
            let path = path.as_ref();
            let name = path.display().to_string();
            let rows = records::for_each_record(path, |line, record| {
                dataset.push_record(&record, &name, line, tokenizer, options)
            })?;
            not_empty(&name, rows)?;
        }
        dataset.check()?;
        Ok(dataset)
    }

    /// The same from text in memory; `name` stands for the file in messages.
    pub fn from_text(
        name: &str,
        text: &[u8],
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<Dataset> {
        let mut dataset = Dataset::default();
        dataset.read(name, text, tokenizer, options)?;
        dataset.check()?;
        Ok(dataset)
    }

    /// Adds the rows of one source. Call [`Dataset::check`] after the last.
    pub fn read(
        &mut self,
        name: &str,
        source: impl BufRead,
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<()> {
        let rows = records::for_each_record_in(name, source, |line, record| {
            self.push_record(&record, name, line, tokenizer, options)
        })?;
        not_empty(name, rows)
    }

    fn push_record(
        &mut self,
        record: &Record,
        name: &str,
        line: usize,
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<()> {
        let at = |why: String| Error::format(name, format!("line {line}"), why);
        let (row, rest) = options.columns.row_and_rest(record).map_err(at)?;
        for column in rest {
            if !self.unread.contains(column) {
                self.unread.insert(column.to_owned());
            }
        }
        self.push(&row, name, line, tokenizer, options)
    }

    /// Adds one row; `name` and `line` (from 1) say where it came from.
    pub fn push(
        &mut self,
        row: &Row,
        name: &str,
        line: usize,
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<()> {
        let format = row.format();
        if let (Some(term), None) = (options.numbers, &self.numbers) {
            self.numbers = Some(Numbers::new(tokenizer, term)?);
        }
        let encoded = match row {
            Row::Text(text) => encode::text(text, tokenizer)?,
            Row::PromptCompletion { prompt, completion } => {
                encode::completion(prompt, completion, tokenizer)?
            }
            Row::Chat(chat) => {
                let template = match &mut self.chat {
                    Some(template) => template,
                    None => self.chat.insert(Template::new(tokenizer.chat_template()?)),
                };
                let at = |e: Error| Error::format(name, format!("line {line}"), e);
                template.encode(chat, options.loss, tokenizer).map_err(at)?
            }
        };
        let (mut ids, mut spans) = (encoded.ids, encoded.spans);
        self.report.rows_prompt_mismatch += usize::from(encoded.parted);
        self.report.rows_without_eos += usize::from(!encoded.ended);
        self.report.rows_bos_twice += usize::from(tokenizer.begins_twice(&ids));
        if options.loss == LossOn::All && !matches!(row, Row::Chat(_)) {
            spans = vec![(0, to_u32(ids.len()))];
        }
        self.report.rows_read += 1;
        self.report.longest = self.report.longest.max(ids.len());
        if ids.len() > options.max_length {
            ids.truncate(options.max_length);
            self.report.rows_cut += 1;
            let ends = spans.last().is_some_and(|span| span.1 as usize > ids.len());
            self.report.rows_answer_cut += usize::from(ends);
        }
        let end = to_u32(ids.len());
        spans.iter_mut().for_each(|span| *span = (span.0.min(end), span.1.min(end)));
        spans.retain(|span| span.0 < span.1);
        let targets = targets(&spans);
        if targets == 0 {
            self.report.rows_without_target += 1;
            return Ok(());
        }
        if self.names.last().is_none_or(|last| last != name) {
            self.names.push(name.to_string());
        }
        *self.formats.entry(format).or_default() += 1;
        let origin = to_u32(self.names.len() - 1);
        self.keep((origin, to_u32(line)), &spans, &ids, options)?;
        self.report.rows_kept += 1;
        self.report.tokens += ids.len();
        self.report.target_tokens += targets;
        Ok(())
    }

    /// Puts a tokenized row behind the others: the number of its file among the names and its line,
    /// spans, ids.
    pub(super) fn keep(
        &mut self,
        (file, line): (u32, u32),
        spans: &[(u32, u32)],
        ids: &[u32],
        options: &DatasetOptions,
    ) -> Result<()> {
        let mut words = vec![file, line, to_u32(spans.len())];
        words.extend(spans.iter().flat_map(|&(from, to)| [from, to]));
        words.extend(ids);
        // Alone as long as rows come: parts are made of a whole dataset.
        let store = Arc::get_mut(&mut self.store)
            .ok_or_else(|| Error::invalid("dataset", "is a part of another: nothing is added"))?;
        let at = store.push(&words, &options.spool)?;
        let (length, targets) = (to_u32(ids.len()), to_u32(targets(spans)));
        self.enter(Entry { at, length, targets }, ids, spans);
        Ok(())
    }

    /// Training rows and held-out ones: `share` of the rows, chosen by the seed, at least one of
    /// each. Both keep the order of the files; the tokens stay where they lie.
    ///
    /// **Errors** [`Error::Invalid`] for a share outside (0, 1), or fewer than two rows.
    pub fn split(self, share: f64, seed: u64) -> Result<(Dataset, Dataset)> {
        if !(share > 0.0 && share < 1.0) {
            return Err(Error::invalid("eval_split", format!("{share} is not between 0 and 1")));
        }
        let rows = self.len();
        if rows < 2 {
            let why = "needs two rows or more, one to train on and one to hold out";
            return Err(Error::invalid("eval_split", why));
        }
        let held_out = ((rows as f64 * share).round() as usize).clamp(1, rows - 1);
        let mut order: Vec<usize> = (0..rows).collect();
        shuffle(&mut stream(seed, "held-out rows", 0), &mut order);
        let mut is_held_out = vec![false; rows];
        order[..held_out].iter().for_each(|&row| is_held_out[row] = true);
        let part = |of: bool| self.part((0..rows).filter(|&row| is_held_out[row] == of));
        Ok((part(false)?, part(true)?))
    }

    /// Some of the rows.
    fn part(&self, rows: impl Iterator<Item = usize>) -> Result<Dataset> {
        let mut part = Dataset {
            store: self.store.clone(),
            names: self.names.clone(),
            formats: self.formats.clone(),
            numbers: self.numbers.clone(),
            ..Dataset::default()
        };
        for row in rows {
            let TokenizedRow { ids, spans, .. } = self.row(row)?;
            let entry = self.entries[row];
            part.report.rows_read += 1;
            part.report.rows_kept += 1;
            part.report.tokens += ids.len();
            part.report.target_tokens += entry.targets as usize;
            part.report.longest = part.report.longest.max(ids.len());
            part.enter(entry, &ids, &spans);
        }
        Ok(part)
    }

    /// Adds a row that lies in the store.
    fn enter(&mut self, entry: Entry, ids: &[u32], spans: &[(u32, u32)]) {
        self.hash = hashed(std::mem::take(&mut self.hash), ids, spans);
        if let Some(&most) = ids.iter().max()
            && self.largest.is_none_or(|(before, _)| most > before)
        {
            self.largest = Some((most, self.entries.len()));
        }
        if let Some(numbers) = &self.numbers {
            let places = spans.iter().flat_map(|&(from, to)| from as usize..to as usize);
            let places = Vec::from_iter(places.filter(|&place| place > 0));
            let mut soft = SoftTargets::default();
            numbers.mark(&mut soft, ids, &places, 0);
            self.soft_entries.push(to_u32(soft.entries.len()));
        }
        self.entries.push(entry);
    }

    /// [`Error::Invalid`] if there is nothing to train on, with the reason.
    pub fn check(&self) -> Result<()> {
        if !self.is_empty() {
            return Ok(());
        }
        let why = match self.report.rows_read {
            0 => "there are no rows".to_string(),
            n => format!(
                "none of the {n} rows has a target token within max_length; \
                 raise ‹max_length› (the longest row has {} tokens), fill `completion`, or use ‹loss = all›",
                self.report.longest
            ),
        };
        Err(Error::invalid("dataset", why))
    }

    /// What finds numbers among targets, where the options asked for it.
    pub(super) fn numbers(&self) -> Option<&Numbers> {
        self.numbers.as_ref()
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Row `i`. **Errors** [`Error::Invalid`] past the end, [`Error::Io`].
    pub fn row(&self, i: usize) -> Result<TokenizedRow> {
        let (_, spans, ids) = self.stored(i)?;
        Ok(TokenizedRow { ids, spans, row: i })
    }

    /// Origin, spans and ids of row `i`.
    #[allow(clippy::type_complexity, reason = "three parts of one record")]
    pub(super) fn stored(&self, i: usize) -> Result<((u32, u32), Vec<(u32, u32)>, Vec<u32>)> {
        let past = || Error::invalid("dataset", format!("row {i} of {}", self.len()));
        let entry = self.entries.get(i).ok_or_else(past)?;
        let head = self.store.read(entry.at, 3)?;
        let &[file, line, count] = head.as_slice() else { return Err(past()) };
        let (spans, length) = (2 * count as usize, entry.length as usize);
        let mut words = self.store.read(entry.at + 3, spans + length)?;
        let ids = words.split_off(spans.min(words.len()));
        let spans = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        Ok(((file, line), spans, ids))
    }

    /// All rows, in file order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Result<TokenizedRow>> {
        (0..self.len()).map(|i| self.row(i))
    }

    /// Tokens of each row, for grouping by length.
    pub fn lengths(&self) -> Vec<u32> {
        self.entries.iter().map(|entry| entry.length).collect()
    }

    /// Targets of each row.
    pub fn targets(&self) -> impl ExactSizeIterator<Item = usize> {
        self.entries.iter().map(|entry| entry.targets as usize)
    }

    /// Entries of each row's soft targets; empty where no numbers are judged.
    pub fn soft_entries(&self) -> &[u32] {
        &self.soft_entries
    }

    /// Where row `i` came from: `file:line`.
    pub fn origin(&self, i: usize) -> String {
        match self.stored(i) {
            Ok(((name, line), ..)) => format!("{}:{line}", self.names[name as usize]),
            Err(_) => format!("row {i}"),
        }
    }

    /// What became of the rows that were read.
    pub fn report(&self) -> DatasetReport {
        self.report
    }

    /// The columns that have values and that no row is made of, by name.
    pub fn unread_columns(&self) -> impl Iterator<Item = &str> {
        self.unread.iter().map(String::as_str)
    }

    /// The kind of most rows.
    pub fn row_format(&self) -> Option<RowFormat> {
        self.formats.iter().max_by_key(|(_, rows)| **rows).map(|(format, _)| *format)
    }

    /// The largest id, and the first row that has it, to check against the model's vocabulary.
    pub fn largest_id(&self) -> Option<(u32, usize)> {
        self.largest
    }

    /// FNV-1a of tokens, row ends and masks as 16 hex digits: equal exactly when training on it is.
    pub fn fingerprint(&self) -> String {
        format!("{:016x}", self.hash.finish())
    }
}

/// The hash of the rows so far, and one more.
fn hashed(mut hash: Fnv, ids: &[u32], spans: &[(u32, u32)]) -> Fnv {
    hash = hash.with(&(ids.len() as u64).to_le_bytes());
    match spans {
        // From a token to the end: the most common mask.
        [(from, to)] if *to as usize == ids.len() => {
            hash = hash.with(&u64::from(*from).to_le_bytes());
        }
        spans => {
            hash = hash.with(&(u64::MAX - spans.len() as u64).to_le_bytes());
            let words = spans.iter().flat_map(|&(from, to)| [from, to]);
            hash = words.fold(hash, |hash, word| hash.with(&word.to_le_bytes()));
        }
    }
    ids.iter().fold(hash, |hash, id| hash.with(&id.to_le_bytes()))
}

fn not_empty(name: &str, rows: usize) -> Result<()> {
    match rows {
        0 => Err(Error::format(name, "end of file", "there are no rows in it")),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
