//! Several answers to one prompt in one batch: the prompt runs once, then a token of each answer
//! per pass.

use super::answer::{Answer, Finish};
use super::decoding::Timings;
use super::options::GenerateOptions;
use super::prompt::end_tokens;
use crate::clock::Clock;
use crate::format::Tokenizer;
use crate::model::{Model, Pass, SlotCache, SlotRow};
use crate::{Error, Result};

/// A finished answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its text.
    pub text: String,
    /// Its ids, without the one that ended it.
    pub ids: Vec<u32>,
    /// Why it ended.
    pub finish: Finish,
}

/// `n` answers to one prompt. The first is what [`super::Generator`] gives; each has random numbers
/// of its own from the one seed.
///
/// **Errors** [`Error::Invalid`] for no answers, an empty prompt, or options that make no sense;
/// [`Error::OutOfMemory`]; [`Error::Device`].
pub async fn samples(
    model: &Model,
    tokenizer: &Tokenizer,
    prompt: &[u32],
    options: &GenerateOptions,
    n: usize,
) -> Result<(Vec<Sample>, Timings)> {
    if n == 0 || prompt.is_empty() {
        return Err(Error::invalid("samples", "need at least one, of a prompt with tokens"));
    }
    let eos = end_tokens(model, tokenizer, &options.end_tokens);
    let answer = |i| Answer::new(options, i as u64, eos.clone(), tokenizer, prompt);
    let mut answers: Vec<Answer> = (0..n).map(answer).collect::<Result<_>>()?;
    let mut texts = vec![String::new(); n];
    let mut timings = Timings::default();
    // Slots of the prompt, then of each answer's own tokens.
    let mut own: Vec<Vec<u32>> = vec![Vec::new(); n];
    let capacity = prompt.len() + n * options.max_new_tokens;
    let mut slots = SlotCache::new(model.gpu(), model.config(), capacity)?;
    let clock = Clock::start();
    let first = {
        let space = model.workspace(Pass { batch: 1, queries: prompt.len(), targets: 1 }, None)?;
        model.prefill_slots(&space, &mut slots, prompt, &[prompt.len() as u32 - 1]).await?
    };
    timings.prefill_seconds = clock.seconds();
    let vocabulary = first.len();
    let space = model.workspace(Pass { batch: n, queries: 1, targets: n }, None)?;
    let mut running: Vec<usize> = (0..n).filter(|&i| answers[i].finish().is_none()).collect();
    let mut logits = first.repeat(running.len());
    while !running.is_empty() {
        let mut rows = Vec::new();
        let mut left = Vec::new();
        for (&i, logits) in running.iter().zip(logits.chunks_exact(vocabulary)) {
            let (id, token) = answers[i].push(tokenizer, logits, prompt)?;
            texts[i].push_str(&token.map(|token| token.text).unwrap_or_default());
            if answers[i].finish().is_none() {
                let before: Vec<u32> =
                    (0..prompt.len() as u32).chain(own[i].iter().copied()).collect();
                own[i].push((slots.used() + rows.len()) as u32);
                rows.push(SlotRow { id, position: before.len() as u32, before });
                left.push(i);
            }
        }
        running = left;
        if !rows.is_empty() {
            let clock = Clock::start();
            logits = model.extend_slots(&space, &mut slots, &rows).await?;
            timings.decode_seconds += clock.seconds();
            timings.decode_passes += rows.len();
        }
    }
    let done = answers.iter().zip(texts).map(|(answer, text)| Sample {
        text,
        ids: answer.ids().to_vec(),
        finish: answer.finish().unwrap_or(Finish::Length),
    });
    Ok((done.collect(), timings))
}
