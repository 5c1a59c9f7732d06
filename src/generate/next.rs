//! What may come next, without choosing.

use super::prompt::prompt_ids;
use super::sampler::{Candidate, top};
use crate::Result;
use crate::format::Tokenizer;
use crate::model::{Model, Pass};

/// The `n` most probable next tokens after a prompt, the first first, by the active adapter.
///
/// **Errors** as [`prompt_ids`]; [`Error::Invalid`](crate::Error::Invalid) for ids outside the
/// vocabulary; [`Error::Device`](crate::Error::Device).
pub async fn next_tokens(
    model: &Model,
    tokenizer: &Tokenizer,
    prompt: &str,
    n: usize,
) -> Result<Vec<Candidate>> {
    let ids = prompt_ids(model, tokenizer, prompt)?;
    let pass = Pass { batch: 1, queries: ids.len(), targets: 1 };
    let space = model.workspace(pass, None)?;
    let logits = model.logits(&space, &ids, 1, &[ids.len() as u32 - 1]).await?;
    top(&logits, n)
}
