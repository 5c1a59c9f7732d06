//! One run in several processes, each with a GPU of its own: what [`Trainer`](super::Trainer) and
//! [`Run`](super::Run) know of it.
//!
//! The window of an optimizer step is global. Ranks divide its micro-batches in order ([`share`]),
//! gradients are summed in order of rank ([`sum`]), and every rank makes the same step of the same
//! optimizer, so that parameters never travel. Rank 0 alone owns the run's folder. What carries the
//! bytes is a [`Ranks`]; that of the command line is MPI (feature `mpi`).

use std::fmt::Debug;
use std::ops::Range;

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

    /// Gives every rank `i` the part `parts[i]` of `values`. Returns what all ranks gave this one,
    /// in their order: `size` times as many values as its own part has.
    fn all_to_all(&self, values: &[f32], parts: &[Range<usize>]) -> Result<Vec<f32>>;

    /// Makes the part `parts[i]` of `values` what rank `i` has there.
    fn all_gather_in_place(&self, values: &mut [f32], parts: &[Range<usize>]) -> Result<()>;

    /// What every rank gave, in their order; lengths may differ.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;
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
    fn all_to_all(&self, values: &[f32], _: &[Range<usize>]) -> Result<Vec<f32>> {
        Ok(values.to_vec())
    }
    fn all_gather_in_place(&self, _: &mut [f32], _: &[Range<usize>]) -> Result<()> {
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
/// it, and gives them the sum, so that each sends `2 (R − 1) / R` of them.
pub fn sum(ranks: &dyn Ranks, values: &mut [f32]) -> Result<()> {
    let size = ranks.size();
    if size == 1 {
        return Ok(());
    }
    let parts = Vec::from_iter((0..size).map(|rank| share(values.len(), rank, size)));
    let given = ranks.all_to_all(values, &parts)?;
    let own = &mut values[parts[ranks.rank()].clone()];
    if !own.is_empty() {
        let (first, others) = given.split_at(own.len());
        own.copy_from_slice(first);
        for other in others.chunks_exact(own.len()) {
            own.iter_mut().zip(other).for_each(|(sum, value)| *sum += value);
        }
    }
    ranks.all_gather_in_place(values, &parts)
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

/// Returns when all ranks have called it.
pub fn barrier(ranks: &dyn Ranks) -> Result<()> {
    if ranks.size() > 1 {
        ranks.all_gather(&[])?;
    }
    Ok(())
}

/// The sums and counts of all ranks, one rank's behind the other's.
pub fn gather_sums(ranks: &dyn Ranks, own: &[(f64, u64)]) -> Result<Vec<(f64, u64)>> {
    let words = own.iter().flat_map(|(sum, count)| [sum.to_bits(), *count]);
    let words = Vec::from_iter(words.flat_map(u64::to_ne_bytes));
    let all = ranks.all_gather(&words)?.concat();
    let words = Vec::from_iter(all.as_chunks().0.iter().map(|bytes| u64::from_ne_bytes(*bytes)));
    Ok(words.as_chunks().0.iter().map(|[sum, count]| (f64::from_bits(*sum), *count)).collect())
}

/// Whether any rank says so.
pub fn any(ranks: &dyn Ranks, own: bool) -> Result<bool> {
    if ranks.size() == 1 {
        return Ok(own);
    }
    Ok(ranks.all_gather(&[own.into()])?.iter().any(|said| said == &[1]))
}

/// Checks that all ranks have the same of each fact, a name and a value; `about` says more of this
/// rank where they have not.
///
/// **Errors** [`Error::Invalid`] on every rank, which names the fact, the first two ranks that
/// differ, what they have, and `advice`.
pub fn agree(ranks: &dyn Ranks, about: &str, facts: &[(&str, String)], advice: &str) -> Result<()> {
    if ranks.size() == 1 {
        return Ok(());
    }
    let place = format!("{} ({about})", ranks.place());
    let own = (place, Vec::from_iter(facts.iter().map(|(_, value)| value)));
    let own = serde_json::to_vec(&own).map_err(|e| Error::invalid("ranks", e))?;
    let told = ranks.all_gather(&own)?;
    let told = told.iter().map(|bytes| serde_json::from_slice::<(String, Vec<String>)>(bytes));
    let told = told.collect::<Result<Vec<_>, _>>().map_err(|e| Error::invalid("ranks", e))?;
    let (first, values) = &told[0];
    for (other, theirs) in &told[1..] {
        let pairs = facts.iter().zip(values.iter().zip(theirs));
        if let Some(((name, _), (value, its))) = pairs.into_iter().find(|(_, (a, b))| a != b) {
            let why =
                format!("differs between ranks: {first} has {value}, {other} has {its}; {advice}");
            return Err(Error::invalid(name, why));
        }
    }
    Ok(())
}
