//! Which body of the matrix products is the fastest on this adapter, measured where it can run
//! several.

use std::time::Duration;

use super::cases::{BF16, Case, F32, Inputs, NF4};
use crate::Result;
use crate::clock::Clock;
use crate::gpu::{Choices, Gpu, Op, Origin, Selection};

/// What is measured, most important first: a kernel, its size M × N × K, and how its matrix is
/// stored. Software adapters have an eighth of the rows.
const PRODUCTS: &[(&str, [usize; 3], &[usize])] = &[
    ("linear_fwd", [512, 2048, 2048], NF4),
    ("linear_bwd", [512, 2048, 2048], NF4),
    ("linear_few", [1, 2048, 2048], NF4),
    ("linear_fwd", [128, 2048, 2048], BF16),
    ("linear_bwd", [128, 2048, 2048], BF16),
    ("linear_few", [1, 2048, 2048], BF16),
    ("linear_grad", [512, 16, 2048], F32),
    ("linear_fwd", [512, 2048, 16], F32),
];

/// Runs of each body that count.
const ROUNDS: usize = 5;

/// A body for matrix units that takes so many times the shipped one's time for a small operation
/// gets no large one: there are cards on which they are a thousand times slower.
const FAR: f64 = 10.0;

/// Another body must take at most this share of the shipped one's time: less is noise.
const WORTH: f64 = 0.95;

/// The bodies that can run for the same data, and what each took.
#[derive(Clone, Debug)]
pub struct Contest {
    /// Kernel and data, in the words of [`Caps::variants`](crate::gpu::Caps::variants).
    pub context: String,
    /// The bodies, the shipped one first.
    pub bodies: Vec<&'static str>,
    /// The median time of each, seconds.
    pub seconds: Vec<f64>,
}

impl Contest {
    /// The number of the body that is worth running: the fastest, unless the shipped one is about
    /// as fast.
    pub fn winner(&self) -> usize {
        let fastest =
            (0..self.seconds.len()).min_by(|&a, &b| self.seconds[a].total_cmp(&self.seconds[b]));
        fastest.filter(|&i| self.seconds[i] <= WORTH * self.seconds[0]).unwrap_or(0)
    }
}

/// What [`tune`] found.
#[derive(Clone, Debug)]
pub struct Tuned {
    /// The winners that are not what is shipped.
    pub choices: Choices,
    /// What was measured.
    pub contests: Vec<Contest>,
    /// How often the time did not suffice for a product: what is shipped runs there.
    pub left_out: usize,
    /// Bodies whose results are not their twin's: they take no part.
    pub wrong: Vec<String>,
}

/// Times the matrix products of training and generation in every body that the device can run and
/// that was written for such data. No run begins when `budget` is over, which counts compilation.
/// Matrix units take part where the device was opened for that
/// ([`Tuning::Measuring`](crate::gpu::Tuning::Measuring)) and a small operation has the results of
/// its twin.
///
/// **Errors** [`Error::Device`](crate::Error::Device) where the driver refuses a body.
pub fn tune(gpu: &Gpu, budget: Duration) -> Result<Tuned> {
    let clock = Clock::start();
    let mut found = Tuned {
        choices: Choices { origin: Origin::Tuned, ..Choices::default() },
        contests: Vec::new(),
        left_out: 0,
        wrong: Vec::new(),
    };
    for (kernel, size, storages) in PRODUCTS {
        if clock.seconds() > budget.as_secs_f64() {
            found.left_out += 1;
            continue;
        }
        let inputs = Inputs::stored(gpu, storages).with_half(true);
        let [m, n, k] = *size;
        let size = if gpu.caps().software { [m.div_ceil(8), n, k] } else { *size };
        for case in super::cases().filter(|case| case.kernel.name == *kernel) {
            let of = (case, &inputs);
            (case.run)(&inputs, size, &mut |op| hold(of, op, (clock, budget), &mut found))?;
        }
    }
    Ok(found)
}

/// Times an operation's bodies and adds what is found.
fn hold(
    (case, inputs): (&Case, &Inputs),
    op: &dyn Op,
    (clock, budget): (Clock, Duration),
    found: &mut Tuned,
) -> Result<()> {
    let gpu = inputs.gpu();
    let context = op.kernel().in_context(&op.context());
    if found.contests.iter().any(|contest| contest.context == context) {
        return Ok(());
    }
    let mut candidates = gpu.caps().candidates(op.kernel(), &op.context())?;
    if candidates.iter().any(Selection::needs_units) {
        qualify((case, inputs), &context, &mut candidates, &mut found.wrong)?;
    }
    // Where 16 bits are allowed and nobody uses them, the contest of 32 bits has decided.
    let is_decided = op.context().half && !candidates.iter().any(Selection::is_half);
    if candidates.len() < 2 || is_decided {
        return Ok(());
    }
    let mut last = vec![0.0; candidates.len()];
    let times = medians(candidates.len(), &mut |i| {
        if clock.seconds() + last[i] > budget.as_secs_f64() {
            return Ok(None);
        }
        last[i] = gpu.seconds(op, &candidates[i])?;
        Ok(Some(last[i]))
    })?;
    let Some(seconds) = times else {
        found.left_out += 1;
        return Ok(());
    };
    let bodies = candidates.iter().map(|candidate| candidate.body.name).collect();
    let contest = Contest { context, bodies, seconds };
    if contest.winner() != 0 {
        let body = contest.bodies[contest.winner()].to_owned();
        found.choices.bodies.insert(contest.context.clone(), body);
    }
    found.contests.push(contest);
    Ok(())
}

/// Leaves those out that need matrix units and, in a small operation of this context, are wrong or
/// far behind the first.
fn qualify(
    (case, inputs): (&Case, &Inputs),
    context: &str,
    candidates: &mut Vec<Selection>,
    wrong: &mut Vec<String>,
) -> Result<()> {
    let gpu = inputs.gpu();
    let all = std::mem::take(candidates);
    for size in case.small {
        (case.run)(inputs, *size, &mut |op| {
            let is_such = op.kernel().in_context(&op.context()) == context;
            if !is_such || !candidates.is_empty() {
                return Ok(());
            }
            for candidate in &all {
                if candidate.needs_units() {
                    if let Some(why) = gpu.disagreement(op, candidate)? {
                        wrong.push(format!("{}: {why}", candidate.name()));
                        continue;
                    }
                    let seconds = |selection| gpu.seconds(op, selection);
                    // The first run of the shipped one compiles it.
                    let shipped = seconds(&all[0])?.min(seconds(&all[0])?);
                    if seconds(candidate)? > FAR * shipped {
                        continue;
                    }
                }
                candidates.push(candidate.clone());
            }
            Ok(())
        })?;
    }
    if candidates.is_empty() {
        // There is no small one to judge by.
        candidates.extend(all.into_iter().filter(|candidate| !candidate.needs_units()));
    }
    Ok(())
}

/// The median time of each of `n` candidates, who run in turns; `None` if `time` has none left. The
/// first turn, which compiles, does not count, and who took twice the best's time then has no
/// further one.
fn medians(
    n: usize,
    time: &mut dyn FnMut(usize) -> Result<Option<f64>>,
) -> Result<Option<Vec<f64>>> {
    let mut all = vec![Vec::new(); n];
    for round in 0..=ROUNDS {
        let best = all.iter().flatten().copied().fold(f64::INFINITY, f64::min);
        for (i, times) in all.iter_mut().enumerate() {
            if times.first().is_some_and(|&first| first > 2.0 * best) {
                continue;
            }
            let Some(seconds) = time(i)? else { return Ok(None) };
            if round > 0 {
                times.push(seconds);
            }
        }
    }
    let median = |mut times: Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    };
    Ok(Some(all.into_iter().map(median).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn winner(seconds: &[f64]) -> usize {
        let (context, bodies) = (String::new(), vec!["any"; seconds.len()]);
        Contest { context, bodies, seconds: seconds.to_vec() }.winner()
    }

    #[test]
    fn another_body_must_be_worth_it() {
        assert_eq!(winner(&[1.0, 0.96, 0.97]), 0);
        assert_eq!(winner(&[1.0, 0.94, 0.97]), 1);
        assert_eq!(winner(&[1.0, 0.94, 0.5]), 2);
        assert_eq!(winner(&[1.0, 2.0]), 0);
    }

    #[test]
    fn turns_alternate_and_one_slow_run_decides_nothing() {
        let mut turns = Vec::new();
        let times = medians(2, &mut |i| {
            turns.push(i);
            // The shipped body is disturbed once, and both compile first.
            Ok(Some(match (turns.len(), i) {
                (1 | 2, _) => 100.0,
                (7, 0) => 50.0,
                (_, 0) => 1.0,
                _ => 1.5,
            }))
        });
        assert_eq!(times.unwrap(), Some(vec![1.0, 1.5]));
        assert_eq!(turns, [0, 1].repeat(ROUNDS + 1));
    }

    #[test]
    fn who_is_far_behind_runs_no_more() {
        let mut runs = [0, 0];
        let times = medians(2, &mut |i| {
            runs[i] += 1;
            Ok(Some([1.0, 3.0][i]))
        });
        assert_eq!(times.unwrap(), Some(vec![1.0, 3.0]));
        assert_eq!(runs, [ROUNDS + 1, 2]);
    }

    #[test]
    fn what_the_time_does_not_suffice_for_has_no_winner() {
        let mut left = 7;
        let times = medians(2, &mut |_| {
            left -= 1;
            Ok((left > 0).then_some(1.0))
        });
        assert_eq!(times.unwrap(), None);
    }
}
