//! From a prompt's text to the ids that an answer goes on from.

use crate::format::{Special, Tokenizer};
use crate::model::Model;
use crate::{Error, Result};

/// The ids of a prompt; for an empty one the token that begins a text. An end token that the
/// tokenizer puts behind every text is left off: behind it there would be nothing to say.
///
/// **Errors** [`Error::Invalid`] if the prompt is empty and the model has no such token.
pub fn prompt_ids(model: &Model, tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<u32>> {
    let mut ids = tokenizer.encode(prompt, Special::With)?;
    ids.truncate(ids.len() - ends_behind(model, tokenizer, prompt, &ids)?);
    if !ids.is_empty() {
        return Ok(ids);
    }
    match tokenizer.bos_id().or(model.config().bos_token_id) {
        Some(bos) => Ok(vec![bos]),
        None => {
            let why =
                "is empty, and this tokenizer has no token that begins a text; give some text";
            Err(Error::invalid("prompt", why))
        }
    }
}

/// What a person should know about the ids of a prompt, a line each: an end token that was left
/// off, and [`bos_note`].
///
/// **Errors** as [`Tokenizer::encode`].
pub fn prompt_notes(model: &Model, tokenizer: &Tokenizer, prompt: &str) -> Result<Vec<String>> {
    let ids = tokenizer.encode(prompt, Special::With)?;
    let mut notes = Vec::new();
    if let (Some(&last), false, 1..) =
        (ids.last(), prompt.is_empty(), ends_behind(model, tokenizer, prompt, &ids)?)
    {
        let last = tokenizer.id_to_token(last).unwrap_or_default();
        notes.push(format!(
            "the tokenizer ends every text with `{last}`: left off behind the prompt"
        ));
    }
    notes.extend(bos_note(tokenizer, &ids));
    Ok(notes)
}

/// A line about ids of a prompt that [begin twice](Tokenizer::begins_twice) (as llama.cpp warns).
pub fn bos_note(tokenizer: &Tokenizer, ids: &[u32]) -> Option<String> {
    let bos = ids.first().filter(|_| tokenizer.begins_twice(ids))?;
    let bos = tokenizer.id_to_token(*bos).unwrap_or_default();
    Some(format!(
        "the prompt begins with `{bos}` twice: the tokenizer puts it before every text; leave it out"
    ))
}

/// The tokens that end an answer: those of `generation_config.json` or `config.json`, the
/// tokenizer's, which training puts behind every completion, and those that are given.
pub(super) fn end_tokens(model: &Model, tokenizer: &Tokenizer, given: &[u32]) -> Vec<u32> {
    let mut eos = model.config().eos_token_ids.clone();
    eos.extend(tokenizer.eos_id());
    eos.extend(given);
    eos
}

/// How many end tokens the tokenizer has put behind a text.
fn ends_behind(model: &Model, tokenizer: &Tokenizer, text: &str, ids: &[u32]) -> Result<usize> {
    let ends = end_tokens(model, tokenizer, &[]);
    let count = |ids: &[u32]| ids.iter().rev().take_while(|id| ends.contains(id)).count();
    Ok(count(ids).saturating_sub(count(&tokenizer.encode(text, Special::Without)?)))
}
