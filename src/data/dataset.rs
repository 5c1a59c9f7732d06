//! Training rows: JSONL with `{"prompt", "completion"}` or `{"text"}`, tokenized and masked as TRL's
//! `SFTTrainer` does, kept as one flat token array.

use crate::random::Fnv;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::io::BufRead;
use std::path::Path;

/// What the dataset needs from a tokenizer.
pub trait Encode {
    /// The ids of `text`, with BOS in front where the tokenizer adds it, without EOS.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;
    /// The end-of-sequence id, if the model has one.
    fn eos(&self) -> Option<u32>;
}

impl Encode for crate::format::Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode(text, true)
    }
    fn eos(&self) -> Option<u32> {
        self.eos_id()
    }
}

/// One row as it stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row {
    /// `{"prompt", "completion"}`: the loss is on the completion (unless [`LossOn::All`]).
    PromptCompletion {
        /// What the model is given.
        prompt: String,
        /// What it shall answer; joined to the prompt without a separator.
        completion: String,
    },
    /// `{"text"}`: the loss is on everything.
    Text(String),
}

/// Which tokens of a prompt/completion row are targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// Those of the completion and the EOS behind it (TRL's `completion_only_loss`).
    #[default]
    Completion,
    /// All.
    All,
}

/// How rows become tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DatasetOptions {
    /// Tokens kept per row, from its start; the rest is cut off (EOS included).
    pub max_length: usize,
    /// Which tokens are targets.
    pub loss: LossOn,
}

impl Default for DatasetOptions {
    fn default() -> DatasetOptions {
        DatasetOptions { max_length: 128, loss: LossOn::Completion }
    }
}

/// What became of the rows, in counts, so that a caller can tell the user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DatasetReport {
    /// Rows in the files.
    pub rows_read: usize,
    /// Rows in the dataset.
    pub rows_kept: usize,
    /// Rows that were longer than `max_length` and lost their end.
    pub rows_cut: usize,
    /// Rows left out because no token of theirs is a target (after cutting).
    pub rows_without_target: usize,
    /// Rows whose prompt, tokenized alone, is not how prompt + completion begins; their mask is by
    /// count, as TRL's, and may be off by a token. A prompt that ends in a space is the usual cause.
    pub rows_prompt_mismatch: usize,
    /// Tokens in the dataset.
    pub tokens: usize,
    /// Targets in the dataset.
    pub target_tokens: usize,
    /// Tokens of the longest row before cutting.
    pub longest: usize,
}

/// One tokenized row, borrowed from a [`Dataset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenizedRow<'a> {
    /// Tokens: encode(prompt + completion) + EOS, cut to `max_length`.
    pub ids: &'a [u32],
    /// The first token that is a target; the ones before it carry no loss. Token 0 never does,
    /// since nothing predicts it.
    pub labels_from: usize,
    /// Index in the dataset.
    pub row: usize,
}

impl TokenizedRow<'_> {
    /// Number of targets: tokens from `labels_from` on that have a predecessor.
    pub fn targets(&self) -> usize {
        self.ids.len().saturating_sub(self.labels_from.max(1))
    }
}

/// Tokenized rows: 4 bytes a token and 20 bytes a row.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    ids: Vec<u32>,
    /// End of row i in `ids`.
    ends: Vec<usize>,
    labels_from: Vec<u32>,
    /// Index into `names`, and line from 1.
    origins: Vec<(u32, u32)>,
    names: Vec<String>,
    report: DatasetReport,
}

impl Dataset {
    /// Reads and tokenizes JSONL files, in order.
    ///
    /// **Errors** [`Error::Io`] if a file cannot be read; [`Error::Format`] with file and line for
    /// bytes that are not UTF-8, lines that are not JSON or not a known kind of row, and empty files;
    /// [`Error::Invalid`] if no row has a target.
    pub fn jsonl<P: AsRef<Path>>(
        paths: &[P],
        tokenizer: &(impl Encode + ?Sized),
        options: DatasetOptions,
    ) -> Result<Dataset> {
        let mut dataset = Dataset::default();
        for path in paths {
            let path = path.as_ref();
            let file = std::fs::File::open(path).map_err(Error::io(path))?;
            let name = path.display().to_string();
            dataset.read(&name, std::io::BufReader::new(file), tokenizer, options)?;
        }
        dataset.check()?;
        Ok(dataset)
    }

    /// The same from text in memory; `name` stands for the file in messages.
    pub fn jsonl_text(
        name: &str,
        text: &[u8],
        tokenizer: &(impl Encode + ?Sized),
        options: DatasetOptions,
    ) -> Result<Dataset> {
        let mut dataset = Dataset::default();
        dataset.read(name, text, tokenizer, options)?;
        dataset.check()?;
        Ok(dataset)
    }

    /// Adds the rows of one JSONL source. Call [`Dataset::check`] after the last.
    pub fn read(
        &mut self,
        name: &str,
        source: impl BufRead,
        tokenizer: &(impl Encode + ?Sized),
        options: DatasetOptions,
    ) -> Result<()> {
        let rows = for_each_row(name, source, |line, row| {
            self.push(&row, name, line, tokenizer, options)
        })?;
        if rows == 0 {
            return Err(Error::format(
                name,
                "end of file",
                "no rows; expected one JSON object a line",
            ));
        }
        Ok(())
    }

    /// Adds one row; `name` and `line` (from 1) say where it came from.
    pub fn push(
        &mut self,
        row: &Row,
        name: &str,
        line: usize,
        tokenizer: &(impl Encode + ?Sized),
        options: DatasetOptions,
    ) -> Result<()> {
        let (mut ids, mut labels_from) = match row {
            Row::Text(text) => (tokenizer.encode(text)?, 0),
            Row::PromptCompletion { prompt, completion } => {
                let head = tokenizer.encode(prompt)?;
                let ids = tokenizer.encode(&format!("{prompt}{completion}"))?;
                self.report.rows_prompt_mismatch += usize::from(!ids.starts_with(&head));
                (ids, head.len())
            }
        };
        // TRL appends the EOS text only where the text does not end in it already.
        if let Some(eos) = tokenizer.eos()
            && (ids.last() != Some(&eos) || ids.len() <= labels_from.max(1))
        {
            ids.push(eos);
        }
        if options.loss == LossOn::All {
            labels_from = 0;
        }
        self.report.rows_read += 1;
        self.report.longest = self.report.longest.max(ids.len());
        if ids.len() > options.max_length {
            ids.truncate(options.max_length);
            self.report.rows_cut += 1;
        }
        let labels_from = labels_from.min(ids.len());
        let targets = TokenizedRow { ids: &ids, labels_from, row: 0 }.targets();
        if targets == 0 {
            self.report.rows_without_target += 1;
            return Ok(());
        }
        if self.names.last().is_none_or(|last| last != name) {
            self.names.push(name.to_string());
        }
        self.ids.extend_from_slice(&ids);
        self.ends.push(self.ids.len());
        self.labels_from.push(to_u32(labels_from));
        self.origins.push((to_u32(self.names.len() - 1), to_u32(line)));
        self.report.rows_kept += 1;
        self.report.tokens += ids.len();
        self.report.target_tokens += targets;
        Ok(())
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
                 raise --max-length (the longest row has {} tokens), fill `completion`, or use --loss all",
                self.report.longest
            ),
        };
        Err(Error::invalid("dataset", why))
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Row `i`, or `None` past the end.
    pub fn get(&self, i: usize) -> Option<TokenizedRow<'_>> {
        let end = *self.ends.get(i)?;
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        let labels_from = self.labels_from[i] as usize;
        Some(TokenizedRow { ids: &self.ids[start..end], labels_from, row: i })
    }

    /// All rows, in file order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = TokenizedRow<'_>> {
        (0..self.len()).map(|i| self.get(i).expect("i is below len"))
    }

    /// Tokens of each row, for grouping by length.
    pub fn lengths(&self) -> Vec<u32> {
        self.rows().map(|row| to_u32(row.ids.len())).collect()
    }

    /// Where row `i` came from: `file:line`.
    pub fn origin(&self, i: usize) -> String {
        match self.origins.get(i) {
            Some(&(name, line)) => format!("{}:{line}", self.names[name as usize]),
            None => format!("row {i}"),
        }
    }

    /// What became of the rows that were read.
    pub fn report(&self) -> DatasetReport {
        self.report
    }

    /// The largest id, to check against the model's vocabulary.
    pub fn max_id(&self) -> Option<u32> {
        self.ids.iter().copied().max()
    }

    /// FNV-1a of tokens, row ends and masks as 16 hex digits: equal exactly when training on it is.
    pub fn fingerprint(&self) -> String {
        let mut hash = Fnv::default();
        for row in self.rows() {
            hash = hash.with(&(row.ids.len() as u64).to_le_bytes());
            hash = hash.with(&(row.labels_from as u64).to_le_bytes());
            hash = row.ids.iter().fold(hash, |hash, id| hash.with(&id.to_le_bytes()));
        }
        format!("{:016x}", hash.finish())
    }
}

/// Token counts and line numbers are far below 2^32; a larger one would only be misreported.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

/// Calls `each(line, row)` for every row of a JSONL source (lines from 1; blank lines are skipped, a
/// byte-order mark at the start is tolerated) and returns the number of rows.
///
/// **Errors** [`Error::Format`] naming file and line, [`Error::Io`], and whatever `each` returns.
pub fn for_each_row(
    name: &str,
    mut source: impl BufRead,
    mut each: impl FnMut(usize, Row) -> Result<()>,
) -> Result<usize> {
    let (mut bytes, mut line, mut rows) = (Vec::new(), 0, 0);
    loop {
        bytes.clear();
        if source.read_until(b'\n', &mut bytes).map_err(Error::io(name))? == 0 {
            return Ok(rows);
        }
        line += 1;
        let at = || format!("line {line}");
        if line == 1 && (bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff])) {
            return Err(Error::format(name, at(), "this is UTF-16; save the file as UTF-8"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|e| {
            let why = format!(
                "not UTF-8 after byte {} of the line; save the file as UTF-8",
                e.valid_up_to()
            );
            Error::format(name, at(), why)
        })?;
        let text = if line == 1 { text.trim_start_matches('\u{feff}') } else { text };
        if text.trim().is_empty() {
            continue;
        }
        let row = parse_row(text).map_err(|why| Error::format(name, at(), why))?;
        each(line, row)?;
        rows += 1;
    }
}

const KINDS: &str = "expected {\"prompt\": \"…\", \"completion\": \"…\"} or {\"text\": \"…\"}";

/// One line of JSON to a row, or what is wrong with it. Keys beyond the known ones are ignored.
fn parse_row(text: &str) -> std::result::Result<Row, String> {
    use serde_json::Value;
    let mut object = match serde_json::from_str(text) {
        Ok(Value::Object(object)) => object,
        Ok(Value::Array(_)) => {
            return Err(format!("found a JSON array; {KINDS}, one object a line"));
        }
        Ok(_) => return Err(format!("found no JSON object; {KINDS}")),
        Err(e) => return Err(format!("not valid JSON ({e}); {KINDS}, one object a line")),
    };
    let mut take = |key: &str| match object.remove(key) {
        Some(Value::String(text)) => Ok(Some(text)),
        Some(Value::Array(_)) => Err(format!(
            "`{key}` is a list; lists of messages are not supported, give the text itself"
        )),
        Some(other) => Err(format!("`{key}` must be a string, found {other}")),
        None => Ok(None),
    };
    match (take("prompt")?, take("completion")?, take("text")?) {
        (Some(prompt), Some(completion), None) => Ok(Row::PromptCompletion { prompt, completion }),
        (None, None, Some(text)) => Ok(Row::Text(text)),
        (prompt, completion, text) => {
            let known = [("prompt", prompt), ("completion", completion), ("text", text)];
            let mut found: Vec<String> =
                known.into_iter().filter(|k| k.1.is_some()).map(|k| k.0.to_string()).collect();
            found.extend(object.keys().cloned());
            Err(format!("found the keys [{}]; {KINDS}", found.join(", ")))
        }
    }
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
