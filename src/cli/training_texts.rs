//! The words of an adapter's training texts, for the file beside it that tells what is foreign.

use std::path::Path;

use anyhow::Result;

use crate::data::{ColumnMap, Row, for_each_record};
use crate::pricer::dollars::dollars;
use crate::pricer::familiar::{Familiar, TEXTS_FILE, text_of};
use crate::pricer::prompt::summary_of;

/// Texts that are counted, at most, spread over all rows.
const MOST_TEXTS: usize = 4000;

/// Where none of so many first rows is a product, none is looked for among the others.
const ROWS_TRIED: usize = 1000;

/// What goes beside an adapter that is trained on these rows: their words, where most are products
/// with prices. There are so many `rows`, those that are held out of the same files among them. Of
/// names that are no files here there are no texts.
pub(super) fn learned(
    data: &[String],
    columns: &ColumnMap,
    rows: usize,
) -> Result<Option<(String, Vec<u8>)>> {
    let (mut texts, mut prices, mut read) = (Vec::new(), Vec::new(), 0);
    let every = rows.div_ceil(MOST_TEXTS).max(1);
    for path in data.iter().map(Path::new).filter(|path| path.is_file()) {
        for_each_record(path, |_, record| {
            read += 1;
            if prices.is_empty() && read > ROWS_TRIED {
                return Ok(());
            }
            if let Ok(Row::PromptCompletion { prompt, completion }) = columns.row(&record)
                && let (Some(summary), Ok(price)) = (summary_of(&prompt), dollars(&completion))
            {
                if prices.len().is_multiple_of(every) {
                    texts.push(text_of(summary));
                }
                prices.push(price);
            }
            Ok(())
        })?;
    }
    if 2 * prices.len() <= read {
        return Ok(None);
    }
    let texts = Vec::from_iter(texts.iter().map(String::as_str));
    let learned = Familiar::learned(&texts, &prices).to_json();
    Ok(Some((TEXTS_FILE.to_owned(), learned.into_bytes())))
}
