//! Products whose price is known.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::cli::rows::same_files;
use crate::data::records::for_each_record;
use crate::format::Tokenizer;
use crate::pricer::dollars::dollars;
use crate::pricer::neighbours::NeighbourIndex;
use crate::pricer::prompt::{has_neighbours, summary_of, title_of};
use crate::train::ranks::{Ranks, on_all};

/// A product whose price is known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Known {
    pub(super) prompt: String,
    pub(super) title: String,
    pub(super) truth: f64,
}

/// Gives prompts that have none the neighbours that the index finds.
pub(super) fn with_neighbours(
    rows: &mut [Known],
    index: Option<&NeighbourIndex>,
    tokenizer: &Tokenizer,
) -> Result<()> {
    let Some(index) = index else { return Ok(()) };
    for row in rows.iter_mut().filter(|row| !has_neighbours(&row.prompt)) {
        if let Some(summary) = summary_of(&row.prompt) {
            row.prompt = index.prompt(tokenizer, summary)?;
        }
    }
    Ok(())
}

/// Rows of prompt and completion, the price being the whole completion, as rank 0 has them.
pub(super) fn known(ranks: &dyn Ranks, path: &Path, limit: Option<usize>) -> Result<Vec<Known>> {
    same_files(ranks, &[path.display().to_string()])?;
    on_all(ranks, || read(path, limit))
}

fn read(path: &Path, limit: Option<usize>) -> Result<Vec<Known>> {
    let mut rows = Vec::new();
    let limit = limit.unwrap_or(usize::MAX);
    for_each_record(path, |line, record| {
        if rows.len() >= limit {
            return Ok(());
        }
        let bad = |why: String| Error::format(path.display(), format!("line or row {line}"), why);
        let text = |key: &str| {
            let value = record.get(key).and_then(|value| value.as_str());
            value.ok_or_else(|| {
                bad(format!("no text called `{key}`; `wgpu-lora prepare` makes such rows"))
            })
        };
        let (prompt, completion) = (text("prompt")?, text("completion")?);
        let truth = dollars(completion).map_err(|why| bad(format!("completion: {why}")))?;
        rows.push(Known { prompt: prompt.to_owned(), title: title_of(prompt), truth });
        Ok(())
    })?;
    match rows.is_empty() {
        true => Err(Error::invalid(path.display(), "there is no row to evaluate").into()),
        false => Ok(rows),
    }
}
