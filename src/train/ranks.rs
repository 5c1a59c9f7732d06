//! One run in several processes, each with a GPU of its own: what [`Trainer`](super::Trainer) and
//! [`Run`](super::Run) know of it.
//!
//! The window of an optimizer step is global. Ranks divide its micro-batches in order ([`share`]),
//! gradients are summed in order of rank ([`sum`]), and every rank makes the same step of the same
//! optimizer, so that parameters never travel. Rank 0 alone owns the run's folder. What carries the
//! bytes is a [`Ranks`]; that of the command line is MPI (feature `mpi`).

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::Range;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::data::{Dataset, DatasetOptions, Encode};
use crate::{Error, Result};

/// The processes of a run, one of which this is. Those that give something are called by all of
/// them, in the same order, and returns when all have.
///
/// **Errors** where another rank cannot be reached.
pub trait Ranks: Debug + Send + Sync {
    /// The number of this one, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// The name of the computer that this one runs on.
    fn host(&self) -> &str;

    /// What messages call this one.
    fn place(&self) -> String {
        format!("rank {} on {}", self.rank(), self.host())
    }

    /// Gives every rank `i` the part `parts[i]` of `values`. Afterwards `given` has what all ranks
    /// gave this one, in their order: `size` times as many values as its own part has.
    fn all_to_all(
        &self,
        values: &[f32],
        parts: &[Range<usize>],
        given: &mut Vec<f32>,
    ) -> Result<()>;

    /// Makes the part `parts[i]` of `values` what rank `i` has as its `own`.
    fn all_gather_parts(
        &self,
        own: &[f32],
        values: &mut [f32],
        parts: &[Range<usize>],
    ) -> Result<()>;

    /// What every rank gave, in their order; lengths may differ.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Returns when all ranks have called it, some of which may have work to do before.
    fn barrier(&self) -> Result<()> {
        self.all_gather(&[]).map(drop)
    }
}

/// A process by itself: nothing is sent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn host(&self) -> &str {
        "this computer"
    }
    fn all_to_all(&self, values: &[f32], _: &[Range<usize>], given: &mut Vec<f32>) -> Result<()> {
        values.clone_into(given);
        Ok(())
    }
    fn all_gather_parts(&self, own: &[f32], values: &mut [f32], _: &[Range<usize>]) -> Result<()> {
        values.copy_from_slice(own);
        Ok(())
    }
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }
}

/// The part of `n` things in a row that is `rank`'s of `size`: the last ranks have one fewer where
/// they do not divide evenly, and none where there are fewer things than ranks.
pub fn share(n: usize, rank: usize, size: usize) -> Range<usize> {
    let (each, more) = (n / size, n % size);
    let from = rank * each + rank.min(more);
    from..from + each + usize::from(rank < more)
}

/// `values[i] ← Σ values[i]` over the ranks, in order of rank: `((r₀ + r₁) + r₂) + …` in f32,
/// whatever the network does. A rank owns a [`share`] of the values, adds what the others have of
/// it, and gives them the sum, so that each sends `2 (R − 1) / R` of them. What is given waits in
/// `scratch`.
pub fn sum(ranks: &dyn Ranks, values: &mut [f32], scratch: &mut Vec<f32>) -> Result<()> {
    let size = ranks.size();
    if size == 1 {
        return Ok(());
    }
    let parts = Vec::from_iter((0..size).map(|rank| share(values.len(), rank, size)));
    ranks.all_to_all(values, &parts, scratch)?;
    let (sum, others) = scratch.split_at_mut(parts[ranks.rank()].len());
    for other in others.chunks_exact(sum.len().max(1)) {
        sum.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
    }
    ranks.all_gather_parts(sum, values, &parts)
}

/// What rank 0 has, on every rank; the others' `own` counts for nothing.
pub fn broadcast(ranks: &dyn Ranks, own: Vec<u8>) -> Result<Vec<u8>> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    let sent: &[u8] = if ranks.rank() == 0 { &own } else { &[] };
    Ok(ranks.all_gather(sent)?.swap_remove(0))
}

/// [`broadcast`] of text.
pub fn broadcast_text(ranks: &dyn Ranks, own: String) -> Result<String> {
    let bytes = broadcast(ranks, own.into_bytes())?;
    String::from_utf8(bytes).map_err(|e| Error::invalid("ranks", e))
}

/// What rank 0 reads, on every rank, however long that takes.
///
/// **Errors** on rank 0 those of `read`.
pub fn on_all<T: Serialize + DeserializeOwned, E: From<Error>>(
    ranks: &dyn Ranks,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let bad = |e: serde_json::Error| Error::invalid("ranks", e);
    if ranks.rank() > 0 {
        ranks.barrier()?;
        let bytes = broadcast(ranks, Vec::new())?;
        return Ok(serde_json::from_slice(&bytes).map_err(bad)?);
    }
    let value = read()?;
    if ranks.size() > 1 {
        ranks.barrier()?;
        broadcast(ranks, serde_json::to_vec(&value).map_err(bad)?)?;
    }
    Ok(value)
}

/// [`on_all`] of rows: the other ranks need no file of them and tokenize nothing.
///
/// **Errors** on rank 0 those of `read`.
pub fn rows<E: From<Error>>(
    ranks: &dyn Ranks,
    read: impl FnOnce() -> Result<Dataset, E>,
    tokenizer: &(impl Encode + ?Sized),
    options: &DatasetOptions,
) -> Result<Dataset, E> {
    if ranks.rank() > 0 {
        ranks.barrier()?;
        return Ok(Dataset::from_pieces(|| broadcast(ranks, Vec::new()), tokenizer, options)?);
    }
    let rows = read()?;
    if ranks.size() > 1 {
        ranks.barrier()?;
        rows.pieces().try_for_each(|piece| broadcast(ranks, piece?).map(drop))?;
    }
    Ok(rows)
}

/// The sums of all ranks with their counts or numbers, one rank's behind the other's.
pub fn gather_sums(ranks: &dyn Ranks, own: &[(f64, u64)]) -> Result<Vec<(f64, u64)>> {
    let words = own.iter().flat_map(|(sum, count)| [sum.to_bits(), *count]);
    let words = Vec::from_iter(words.flat_map(u64::to_ne_bytes));
    let all = ranks.all_gather(&words)?.concat();
    let words = Vec::from_iter(all.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)));
    Ok(words.as_chunks().0.iter().map(|[sum, count]| (f64::from_bits(*sum), *count)).collect())
}

/// The largest number that a rank has.
pub fn most(ranks: &dyn Ranks, own: usize) -> Result<usize> {
    let all = ranks.all_gather(&(own as u64).to_ne_bytes())?.concat();
    let all = all.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes));
    Ok(all.max().map_or(own, |most| most as usize))
}

/// Whether any rank says so.
pub fn any(ranks: &dyn Ranks, own: bool) -> Result<bool> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    Ok(ranks.all_gather(&[own.into()])?.iter().any(|said| said == &[1]))
}

/// [`agree`] on facts that not every rank has: those of rank 0 count, where a rank knows them.
pub fn agree_where_known(
    ranks: &dyn Ranks,
    known: &BTreeMap<String, String>,
    advice: &str,
) -> Result<()> {
    let bad = |e: serde_json::Error| Error::invalid("ranks", e);
    let of_first = broadcast(ranks, serde_json::to_vec(known).map_err(bad)?)?;
    let mut facts: BTreeMap<String, String> = serde_json::from_slice(&of_first).map_err(bad)?;
    for (name, value) in &mut facts {
        known.get(name).into_iter().for_each(|own| value.clone_from(own));
    }
    agree(ranks, "", &facts, advice)
}

/// A rank, and its facts by name.
type Told = (String, BTreeMap<String, String>);

/// Checks that all ranks have the same of each fact, a name and a value; `about`, where it is not
/// empty, says more of this rank where they have not.
///
/// **Errors** [`Error::Invalid`] on every rank, which names the fact, the first two ranks that
/// differ, what they have, and `advice`.
pub fn agree(
    ranks: &dyn Ranks,
    about: &str,
    facts: &BTreeMap<String, String>,
    advice: &str,
) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let about = if about.is_empty() { String::new() } else { format!(" ({about})") };
    let told: Told = (ranks.place() + &about, facts.clone());
    let told = serde_json::to_vec(&told).map_err(|e| Error::invalid("ranks", e))?;
    let all = ranks.all_gather(&told)?;
    let all = all.iter().map(|bytes| serde_json::from_slice::<Told>(bytes));
    let all = all.collect::<Result<Vec<_>, _>>().map_err(|e| Error::invalid("ranks", e))?;
    let (first, values) = &all[0];
    for (other, theirs) in &all[1..] {
        for name in values.keys().chain(theirs.keys()) {
            let (value, its) = (values.get(name), theirs.get(name));
            if value != its {
                let [value, its] = [value, its].map(|value| value.map_or("none", |v| v));
                let why = format!(
                    "differs between ranks: {first} has {value}, {other} has {its}; {advice}"
                );
                return Err(Error::invalid(name, why));
            }
        }
    }
    Ok(())
}
