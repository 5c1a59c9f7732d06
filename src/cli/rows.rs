//! The rows of a run: where they come from, and what became of them.

use std::io::Read;
use std::path::Path;

use anyhow::Result;

use super::printer::Printer;
use super::session::Session;
use crate::Error;
use crate::data::Dataset;
use crate::format::{Moment, Tokenizer};
use crate::hub::data_files;
use crate::random::Fnv;
use crate::train::config::TrainConfig;
use crate::train::plan::LargestBatch;
use crate::train::ranks::{self, Ranks};

/// Training and held-out rows.
pub(super) struct Rows {
    pub(super) training: Dataset,
    pub(super) held_out: Option<Dataset>,
}

impl Rows {
    /// Opens both and says what became of them. Where `spool` is a folder to be, tokens that wait
    /// on a disk lie beside it, not where the system's memory may be the disk.
    pub(super) fn open(
        session: &Session,
        config: &mut TrainConfig,
        mut tokenizer: Tokenizer,
        spool: Option<&Path>,
    ) -> Result<Rows> {
        // A template that writes the date writes the same one as long as the run lives: it is one
        // of its settings.
        if tokenizer.asks_for_date() {
            let now = ranks::broadcast_text(&*session.ranks, Moment::now().to_string())?;
            tokenizer.set_date(
                *config.template_date.get_or_insert(now.parse().map_err(anyhow::Error::msg)?),
            );
        }
        // Tokens come from rank 0; what they stand for, from each rank's own.
        let hash = format!("{:016x}", Fnv::of(tokenizer.to_json()?.as_bytes()));
        let facts = [("tokenizer".to_owned(), hash)].into();
        ranks::agree(&*session.ranks, "", &facts, "give all hosts the same model")?;
        let mut options = config.dataset_options()?;
        // Of the folder to be, other ranks' hosts need know nothing.
        let spool = spool.filter(|_| session.ranks.rank() == 0);
        let spool = spool.map(|path| std::path::absolute(path).unwrap_or_default());
        let exists = |path: &&Path| path.is_dir();
        options.spool = spool.and_then(|path| path.ancestors().find(exists).map(Path::to_path_buf));
        let length = config.row_length();
        let open = |what: &str, given: &[String], splits: &[&str]| -> Result<Dataset> {
            same_files(&*session.ranks, given)?;
            let read = || {
                given.iter().try_for_each(|name| no_folder(name, splits))?;
                let files = data_files(given, splits, &mut session.downloads())?;
                anyhow::Ok(Dataset::open(&files, &tokenizer, &options)?)
            };
            let rows = ranks::rows(&*session.ranks, read, &tokenizer, &options)?;
            describe(&session.printer, what, &rows, length);
            Ok(rows)
        };
        let training = open("training data", &config.data, &["train"])?;
        if let Some(share) = config.eval_split {
            let (training, held_out) = training.split(share, config.seed)?;
            session.printer.note(format!(
                "evaluation data: {} of these rows are held out, {} are trained on",
                held_out.len(),
                training.len()
            ));
            return Ok(Rows { training, held_out: Some(held_out) });
        }
        let given = config.eval_data.as_slice();
        let held_out = (!given.is_empty())
            .then(|| open("evaluation data", given, &["validation", "test"]))
            .transpose()?;
        Ok(Rows { training, held_out })
    }

    /// The largest batch of them.
    pub(super) fn largest_batch(&self, config: &TrainConfig) -> LargestBatch {
        LargestBatch::of(&self.training, self.held_out.as_ref(), config)
    }

    /// Positions that the model must know: the longest row.
    pub(super) fn positions(&self, config: &TrainConfig) -> usize {
        let longest = [Some(&self.training), self.held_out.as_ref()].into_iter().flatten();
        longest.map(|d| d.report().longest).max().unwrap_or(1).min(config.row_length())
    }
}

/// Refuses hosts that have other files under these names than rank 0, which alone reads them: one
/// of the two is not what is meant. A host need have none.
pub(super) fn same_files(ranks: &dyn Ranks, names: &[String]) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let files = names.iter().filter(|name| Path::new(name).is_file());
    let known = files.map(|name| Ok((format!("content of {name}"), hash_of_file(name)?)));
    let known = known.collect::<Result<_>>()?;
    ranks.barrier()?;
    let advice = "give all hosts the same rows, or only that of rank 0";
    Ok(ranks::agree_where_known(ranks, &known, advice)?)
}

/// FNV-1a of what is in it, as 16 hex digits.
fn hash_of_file(name: &str) -> Result<String> {
    let read = || {
        let (mut file, mut hash) = (std::fs::File::open(name)?, Fnv::default());
        let mut buffer = vec![0; 1 << 20];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(format!("{:016x}", hash.finish())),
                n => hash = hash.with(&buffer[..n]),
            }
        }
    };
    read().map_err(|e| Error::io(Path::new(name))(e).into())
}

/// Refuses a folder, as mlx-lm takes one, with the file in it that is meant.
fn no_folder(name: &str, splits: &[&str]) -> Result<()> {
    let folder = Path::new(name);
    if !folder.is_dir() {
        return Ok(());
    }
    let names = [splits, &["valid"]].concat();
    let files = names.iter().map(|split| folder.join(format!("{split}.jsonl")));
    let meant = files.into_iter().find(|path| path.is_file());
    let example = meant.unwrap_or_else(|| folder.join("train.jsonl"));
    let why = format!("is a folder; give the files of rows in it, such as {}", example.display());
    Err(Error::invalid(name, why).into())
}

/// What became of the rows.
fn describe(printer: &Printer, what: &str, rows: &Dataset, max_length: usize) {
    let report = rows.report();
    printer.note(format!(
        "{what}: {} rows, {} tokens, {} of them targets",
        report.rows_kept, report.tokens, report.target_tokens
    ));
    if report.rows_cut > 0 {
        printer.warn(format!(
            "{what}: {} of {} rows are cut to --max-length {max_length} (the longest has {} tokens); {} of them \
             lose the end of their answer",
            report.rows_cut, report.rows_read, report.longest, report.rows_answer_cut
        ));
    }
    if report.rows_without_target > 0 {
        printer.warn(format!(
            "{what}: {} of {} rows are left out: no target token within --max-length {max_length}",
            report.rows_without_target, report.rows_read
        ));
    }
    if report.rows_prompt_mismatch > 0 {
        printer.warn(format!(
            "{what}: in {} of {} rows the prompt's tokens are not how the row's begin (a prompt that \
             ends in a space?); the loss begins at the first that differs, but answers will begin behind \
             the prompt's own tokens",
            report.rows_prompt_mismatch, report.rows_read
        ));
    }
    if report.rows_bos_twice > 0 {
        printer.warn(format!(
            "{what}: {} of {} rows begin with two BOS: the text has one, and the tokenizer puts one in front; \
             take it out of the text",
            report.rows_bos_twice, report.rows_read
        ));
    }
    if report.rows_without_eos > 0 {
        printer.warn(format!(
            "{what}: nothing ends {} of {} rows: this model has no EOS, and answers will not end; \
             name its `eos_token` in tokenizer_config.json",
            report.rows_without_eos, report.rows_read
        ));
    }
    let unread = Vec::from_iter(rows.unread_columns()).join(", ");
    if !unread.is_empty() {
        printer.note(format!("{what}: columns that are not read: {unread}"));
    }
}
