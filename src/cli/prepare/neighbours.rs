//! Neighbours of the rows that `prepare` writes: where the known prices come from.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;

use crate::Error;
use crate::cli::charts;
use crate::data::{Record, for_each_record};
use crate::format::Tokenizer;
use crate::pricer::columns::Columns;
use crate::pricer::dollars::dollars;
use crate::pricer::neighbours::{INDEX_FILE, Known, NeighbourIndex, NeighbourSettings};
use crate::pricer::prompt;

/// The flags of neighbours.
#[derive(Debug, Args)]
pub(super) struct NeighbourArgs {
    /// Put the K most similar training products with their prices into each prompt; never the
    /// product itself or a duplicate.
    #[arg(long, value_name = "K", default_value_t = 0, hide_default_value = true)]
    neighbours: usize,
    /// The training products (as IN, or prepared rows), where IN is not what is trained on.
    #[arg(long, value_name = "FILE", requires = "neighbours")]
    pub(super) from: Option<PathBuf>,
    /// Tokens of each neighbour's price and title.
    #[arg(long, value_name = "N", default_value_t = 16)]
    neighbour_tokens: usize,
}

impl NeighbourArgs {
    /// Whether there are neighbours.
    pub(super) fn wanted(&self) -> bool {
        self.neighbours > 0
    }

    pub(super) fn check(&self) -> crate::Result<()> {
        match self.wanted() && self.neighbour_tokens == 0 {
            true => Err(Error::invalid("--neighbour-tokens", "0 leaves no price; 16 is usual")),
            false => Ok(()),
        }
    }

    /// The index of the training products, `own` those of IN.
    pub(super) fn index(
        &self,
        own: Vec<Known>,
        tokenizer: &Tokenizer,
        columns: &Columns,
        (cutoff, keep_part_numbers): (usize, bool),
    ) -> Result<NeighbourIndex> {
        let known = match &self.from {
            None => own,
            Some(path) => {
                let mut known = Vec::new();
                for_each_record(path, |line, record| {
                    let bad = |why: String| {
                        Error::format(path.display(), format!("line or row {line}"), why)
                    };
                    let found = match prepared(&record) {
                        Some(row) => Some(row),
                        None => match columns.product(&record) {
                            Ok((_, true)) => None,
                            Ok((product, false)) => {
                                let product = product.cleaned(keep_part_numbers);
                                Some(Ok((product.summary(), product.price)))
                            }
                            Err(why) => Some(Err(why)),
                        },
                    };
                    if let Some(found) = found {
                        let (text, price) = found.map_err(bad)?;
                        let (text, _) = prompt::cut(tokenizer, &text, cutoff)?;
                        known.push(Known { text, price });
                    }
                    Ok(())
                })?;
                known
            }
        };
        if known.is_empty() {
            let why = "there is no training row to look in; name the training products with --from";
            return Err(Error::invalid("--neighbours", why).into());
        }
        let settings = NeighbourSettings {
            neighbours: self.neighbours,
            neighbour_tokens: self.neighbour_tokens,
            cutoff,
            longest_row: 0,
        };
        Ok(NeighbourIndex::new(settings, known))
    }
}

/// Summary and price of a row that `prepare` wrote; none if it is no such row.
fn prepared(record: &Record) -> Option<Result<(String, f64), String>> {
    let text = |key: &str| record.get(key)?.as_str();
    let summary = prompt::summary_of(text("prompt")?)?;
    let price = dollars(text("completion")?).map_err(|why| format!("completion: {why}"));
    Some(price.map(|price| (summary.to_owned(), price)))
}

/// Writes an index beside the rows, or removes one of other rows, which would be taken for theirs.
pub(super) fn write(out: &Path, bytes: Option<&[u8]>) -> Result<()> {
    let path = out.join(INDEX_FILE);
    match bytes {
        Some(bytes) => charts::write(&path, bytes),
        None if path.exists() => Ok(std::fs::remove_file(&path).map_err(Error::io(&path))?),
        None => Ok(()),
    }
}

/// For people.
pub(super) fn told(index: &NeighbourIndex) -> String {
    format!(
        "each with up to {} of {} training products in its prompt; rows have up to {} tokens (--max-length of train), \
         and {INDEX_FILE} goes with the adapter",
        index.settings().neighbours,
        index.known().len(),
        index.settings().longest_row
    )
}
