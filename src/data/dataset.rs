//! Training rows, tokenized and masked as TRL's `SFTTrainer` does, kept as one flat token array.

use super::records;
use super::rows::{ColumnMap, Row};
use crate::format::{ChatTemplate, Offsets};
use crate::random::Fnv;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::BufRead;
use std::path::Path;

/// What the dataset needs from a tokenizer.
pub trait Encode {
    /// The ids of `text`, with BOS in front where the tokenizer adds it, without EOS.
    fn encode(&self, text: &str) -> Result<Vec<u32>>;
    /// The end-of-sequence id, if the model has one.
    fn eos(&self) -> Option<u32>;
    /// The ids of `text`, nothing added, and the bytes that each stands for.
    fn encode_with_offsets(&self, _text: &str) -> Result<Offsets> {
        Err(no_chats())
    }
    /// The model's chat template.
    fn chat_template(&self) -> Result<ChatTemplate> {
        Err(no_chats())
    }
}

fn no_chats() -> Error {
    let hint = "give prompt and completion".into();
    Error::Unsupported { what: "messages, with this tokenizer,".into(), hint }
}

impl Encode for crate::format::Tokenizer {
    fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.encode(text, true)
    }
    fn eos(&self) -> Option<u32> {
        self.eos_id()
    }
    fn encode_with_offsets(&self, text: &str) -> Result<Offsets> {
        self.encode_with_offsets(text)
    }
    fn chat_template(&self) -> Result<ChatTemplate> {
        self.chat_template()
    }
}

/// Which tokens of a prompt/completion row are targets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LossOn {
    /// Those of the completion and the EOS behind it (TRL's `completion_only_loss`), or of what the
    /// assistant says (`assistant_only_loss`).
    #[default]
    Completion,
    /// All.
    All,
}

/// How rows become tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetOptions {
    /// Tokens kept per row, from its start; the rest is cut off (EOS included).
    pub max_length: usize,
    /// Which tokens are targets.
    pub loss: LossOn,
    /// Which columns of the file are read as which keys.
    pub columns: ColumnMap,
}

impl Default for DatasetOptions {
    fn default() -> DatasetOptions {
        let (loss, columns) = (LossOn::Completion, ColumnMap::default());
        DatasetOptions { max_length: 128, loss, columns }
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
    /// Tokens: encode(prompt + completion) + EOS, or a rendered chat, cut to `max_length`.
    pub ids: &'a [u32],
    /// Ranges of tokens that are targets, in order and apart; the others carry no loss. Token 0 never
    /// does, since nothing predicts it.
    pub spans: &'a [(u32, u32)],
    /// Index in the dataset.
    pub row: usize,
}

impl TokenizedRow<'_> {
    /// Number of targets: tokens in the ranges that have a predecessor.
    pub fn targets(&self) -> usize {
        self.spans.iter().map(|&(from, to)| to.saturating_sub(from.max(1)) as usize).sum()
    }
}

/// Tokenized rows: 4 bytes a token and 36 bytes a row.
#[derive(Clone, Debug, Default)]
pub struct Dataset {
    ids: Vec<u32>,
    /// End of row i in `ids`.
    ends: Vec<usize>,
    spans: Vec<(u32, u32)>,
    /// End of row i in `spans`.
    span_ends: Vec<usize>,
    /// Index into `names`, and line from 1.
    origins: Vec<(u32, u32)>,
    names: Vec<String>,
    report: DatasetReport,
    /// Read from the tokenizer with the first row of messages.
    chat: Option<ChatTemplate>,
}

impl Dataset {
    /// Reads and tokenizes files, in order: JSONL, JSON, CSV or Parquet, plain or compressed
    /// ([`records::for_each_record`]).
    ///
    /// **Errors** [`Error::Io`] if a file cannot be read; [`Error::Format`] with file and line for
    /// records that cannot be read or are no known kind of row, and empty files; [`Error::Invalid`] if no
    /// row has a target.
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
        record: &records::Record,
        name: &str,
        line: usize,
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<()> {
        let at = |why: String| Error::format(name, format!("line {line}"), why);
        let row = options.columns.row(record).map_err(at)?;
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
        let (mut ids, mut spans) = match row {
            Row::Text(text) => with_eos(tokenizer.encode(text)?, 0, tokenizer.eos()),
            Row::PromptCompletion { prompt, completion } => {
                let head = tokenizer.encode(prompt)?;
                let ids = tokenizer.encode(&format!("{prompt}{completion}"))?;
                self.report.rows_prompt_mismatch += usize::from(!ids.starts_with(&head));
                with_eos(ids, head.len(), tokenizer.eos())
            }
            Row::Messages(messages) => {
                let template = match &self.chat {
                    Some(template) => template,
                    None => self.chat.insert(tokenizer.chat_template()?),
                };
                let at = |e: Error| Error::format(name, format!("line {line}"), e);
                chat(template, messages, tokenizer).map_err(at)?
            }
        };
        if options.loss == LossOn::All {
            spans = vec![(0, to_u32(ids.len()))];
        }
        self.report.rows_read += 1;
        self.report.longest = self.report.longest.max(ids.len());
        if ids.len() > options.max_length {
            ids.truncate(options.max_length);
            self.report.rows_cut += 1;
        }
        let end = to_u32(ids.len());
        spans.iter_mut().for_each(|span| *span = (span.0.min(end), span.1.min(end)));
        spans.retain(|span| span.0 < span.1);
        let targets = TokenizedRow { ids: &ids, spans: &spans, row: 0 }.targets();
        if targets == 0 {
            self.report.rows_without_target += 1;
            return Ok(());
        }
        if self.names.last().is_none_or(|last| last != name) {
            self.names.push(name.to_string());
        }
        self.ids.extend_from_slice(&ids);
        self.ends.push(self.ids.len());
        self.spans.extend_from_slice(&spans);
        self.span_ends.push(self.spans.len());
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
        let range = |ends: &[usize]| -> Option<std::ops::Range<usize>> {
            let end = *ends.get(i)?;
            Some(if i == 0 { 0 } else { ends[i - 1] }..end)
        };
        let (ids, spans) = (range(&self.ends)?, range(&self.span_ends)?);
        Some(TokenizedRow { ids: &self.ids[ids], spans: &self.spans[spans], row: i })
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
            match row.spans {
                // From a token to the end: the most common mask.
                [(from, to)] if *to as usize == row.ids.len() => {
                    hash = hash.with(&u64::from(*from).to_le_bytes());
                }
                spans => {
                    hash = hash.with(&(u64::MAX - spans.len() as u64).to_le_bytes());
                    let words = spans.iter().flat_map(|&(from, to)| [from, to]);
                    hash = words.fold(hash, |hash, word| hash.with(&word.to_le_bytes()));
                }
            }
            hash = row.ids.iter().fold(hash, |hash, id| hash.with(&id.to_le_bytes()));
        }
        format!("{:016x}", hash.finish())
    }
}

/// Token counts and line numbers are far below 2^32; a larger one would only be misreported.
fn to_u32(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

fn not_empty(name: &str, rows: usize) -> Result<()> {
    match rows {
        0 => Err(Error::format(name, "end of file", "there are no rows in it")),
        _ => Ok(()),
    }
}

/// Appends the EOS (as TRL, only where the text does not end in it already); targets are the tokens from
/// `prompt` on.
fn with_eos(mut ids: Vec<u32>, prompt: usize, eos: Option<u32>) -> (Vec<u32>, Vec<(u32, u32)>) {
    if let Some(eos) = eos
        && (ids.last() != Some(&eos) || ids.len() <= prompt.max(1))
    {
        ids.push(eos);
    }
    let span = (to_u32(prompt), to_u32(ids.len()));
    (ids, vec![span])
}

/// First and last + 1 of tokens that count.
type Spans = Vec<(u32, u32)>;

/// Tokens of a conversation, and those that the assistant says: from behind the prompt that asks for
/// its words, over its words, to the token that ends its turn.
fn chat(
    template: &ChatTemplate,
    messages: &[Value],
    tokenizer: &(impl Encode + ?Sized),
) -> Result<(Vec<u32>, Spans)> {
    let text = template.render(messages, false)?;
    let mut said = Vec::new();
    for (i, message) in messages.iter().enumerate().filter(|(_, m)| m["role"] == "assistant") {
        let before = template.render(&messages[..i], true)?;
        let after = template.render(&messages[..=i], false)?;
        // Some templates ask for the assistant's words whether told to or not: `after` may go on otherwise.
        let turn = text.bytes().zip(after.bytes()).take_while(|(a, b)| a == b).count();
        let words = message["content"].as_str().unwrap_or_default().trim();
        let found = text.get(before.len()..turn.max(before.len())).and_then(|t| t.find(words));
        match found.filter(|_| text.starts_with(&before)) {
            Some(at) => said.push((before.len(), before.len() + at + words.len(), turn)),
            None => {
                let why = format!(
                    "this chat template writes message {} otherwise once more follow, so that what the \
                     assistant said cannot be told from the rest; end the conversation there, or give \
                     prompt and completion",
                    i + 1
                );
                return Err(Error::invalid("messages", why));
            }
        }
    }
    let (ids, offsets) = tokenizer.encode_with_offsets(&text)?;
    let mut spans = Vec::new();
    for (from, words_end, turn) in said {
        let inside =
            |&i: &usize| (from..turn).contains(&offsets[i].0) && offsets[i].1 > offsets[i].0;
        let all: Vec<usize> = (0..ids.len()).filter(inside).collect();
        let Some(&first) = all.first() else { continue };
        // White space that the template puts behind the words, then one token that is none.
        let blank =
            |i: usize| text.get(offsets[i].0..offsets[i].1).is_some_and(|t| t.trim().is_empty());
        let end = all.iter().find(|&&i| offsets[i].0 >= words_end && !blank(i));
        let last = end.or_else(|| all.iter().rfind(|&&i| offsets[i].0 < words_end));
        spans.push((to_u32(first), to_u32(last.map_or(first, |last| last + 1))));
    }
    Ok((ids, spans))
}

#[cfg(test)]
#[path = "dataset_tests.rs"]
mod tests;
