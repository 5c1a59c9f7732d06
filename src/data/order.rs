//! In which order rows are trained on, and how they fall into micro-batches and accumulation
//! windows.

use crate::random::{shuffle, stream};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The order of `n` rows in `epoch` (from 0): a shuffle that depends on `seed`, `epoch` and `n`
/// alone.
pub fn epoch_order(seed: u64, epoch: u64, n: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..n).map(|i| u32::try_from(i).unwrap_or(u32::MAX)).collect();
    shuffle(&mut stream(seed, "epoch_order", epoch), &mut order);
    order
}

/// [`epoch_order`] with rows of like length put together: the shuffled rows are taken in
/// megabatches of `window · min(n / (4 · window), 50)` rows (at least one window), each sorted from
/// long to short; then the longest row of all is swapped to the front, so that a lack of memory
/// shows at once.
///
/// `window` is batch size × accumulation steps.
/// **Source** transformers `trainer_pt_utils.get_length_grouped_indices`, as `Trainer` calls it.
pub fn length_grouped_order(seed: u64, epoch: u64, lengths: &[u32], window: usize) -> Vec<u32> {
    let mut order = epoch_order(seed, epoch, lengths.len());
    let window = window.max(1);
    let mega = window * (lengths.len() / window.saturating_mul(4)).clamp(1, 50);
    let length = |row: u32| lengths[row as usize];
    for group in order.chunks_mut(mega) {
        group.sort_by_key(|&row| std::cmp::Reverse(length(row)));
    }
    // The first row of each group is its longest; the earliest group wins a tie.
    let longest = (0..order.len()).step_by(mega).rev().max_by_key(|&at| length(order[at]));
    if let Some(at) = longest {
        order.swap(0, at);
    }
    order
}

/// Rows in packs of at most `budget` tokens: a shuffle that depends on `seed` alone, taken row by
/// row, a new pack where the next row does not fit. A longer row has a pack of its own.
pub fn packs(seed: u64, lengths: &[u32], budget: usize) -> Vec<Vec<u32>> {
    let mut order: Vec<u32> =
        (0..lengths.len()).map(|i| u32::try_from(i).unwrap_or(u32::MAX)).collect();
    shuffle(&mut stream(seed, "packs", 0), &mut order);
    let (mut packs, mut left): (Vec<Vec<u32>>, usize) = (Vec::new(), 0);
    for row in order {
        let length = lengths[row as usize] as usize;
        match packs.last_mut() {
            Some(pack) if length <= left => pack.push(row),
            _ => {
                packs.push(vec![row]);
                left = budget.max(length);
            }
        }
        left -= length;
    }
    packs
}

/// A position in the data: all that has to be saved to go on exactly there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// The seed of the order.
    pub seed: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// Rows of this epoch's order that were used already.
    pub index: u64,
}

/// How rows are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoaderOptions {
    /// Rows in a micro-batch; the last one of an epoch may have fewer.
    pub batch_size: usize,
    /// Micro-batches in an optimizer step; the last step of an epoch may have fewer.
    pub gradient_accumulation_steps: usize,
    /// [`length_grouped_order`] instead of [`epoch_order`].
    pub group_by_length: bool,
    /// [`packs`] of this many tokens in place of micro-batches of `batch_size` rows; 0: none. They
    /// are made once and come in another order in each epoch.
    pub pack_tokens: usize,
}

impl Default for LoaderOptions {
    fn default() -> LoaderOptions {
        LoaderOptions {
            batch_size: 4,
            gradient_accumulation_steps: 4,
            group_by_length: false,
            pack_tokens: 0,
        }
    }
}

/// Hands out accumulation windows for ever, epoch after epoch.
///
/// A window is the micro-batches of one optimizer step; it never spans two epochs: the last one of
/// an epoch is kept although it may be smaller, as the HF Trainer does.
#[derive(Clone, Debug)]
pub struct Loader {
    /// Tokens of each row, or of each pack.
    lengths: Vec<u32>,
    packs: Option<Vec<Vec<u32>>>,
    options: LoaderOptions,
    position: Position,
    order: Vec<u32>,
}

impl Loader {
    /// Starts at `position`; `lengths` are [`super::Dataset::lengths`].
    ///
    /// **Errors** [`Error::Invalid`] without rows, for a zero batch or window, or a position that
    /// this data does not have.
    pub fn new(lengths: Vec<u32>, options: LoaderOptions, position: Position) -> Result<Loader> {
        let n = lengths.len();
        if n == 0 || u32::try_from(n).is_err() {
            return Err(Error::invalid("dataset", format!("{n} rows; need 1 to {}", u32::MAX)));
        }
        if options.batch_size == 0 || options.gradient_accumulation_steps == 0 {
            let why = "must both be at least 1";
            return Err(Error::invalid("batch_size, gradient_accumulation_steps", why));
        }
        let (mut lengths, mut options, mut packs) = (lengths, options, None);
        if options.pack_tokens > 0 {
            let made = self::packs(position.seed, &lengths, options.pack_tokens);
            let tokens = |pack: &Vec<u32>| pack.iter().map(|&row| lengths[row as usize]).sum();
            lengths = made.iter().map(tokens).collect();
            options.batch_size = 1;
            packs = Some(made);
        }
        let n = lengths.len();
        if position.index > n as u64 {
            let why =
                format!("row {} of an epoch of {n} rows; the data has changed", position.index);
            return Err(Error::invalid("data position", why));
        }
        let mut loader = Loader { lengths, packs, options, position, order: Vec::new() };
        loader.order = loader.order_of(position.epoch);
        Ok(loader)
    }

    fn order_of(&self, epoch: u64) -> Vec<u32> {
        let (n, o) = (self.lengths.len(), self.options);
        let seed = self.position.seed;
        if o.group_by_length {
            length_grouped_order(
                seed,
                epoch,
                &self.lengths,
                o.batch_size.saturating_mul(o.gradient_accumulation_steps),
            )
        } else {
            epoch_order(seed, epoch, n)
        }
    }

    /// Where the next window begins. Save it after a step; it is what [`Loader::new`] takes.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Epochs done, with the fraction of the present one: what `metrics.jsonl` calls `epoch`.
    pub fn epochs_done(&self) -> f64 {
        self.position.epoch as f64 + self.position.index as f64 / self.lengths.len() as f64
    }

    /// Whether the last window ended an epoch (true before the first one too).
    pub fn at_epoch_end(&self) -> bool {
        self.position.index == 0
    }

    /// The micro-batches of the next optimizer step: at least one, none of them empty.
    pub fn next_window(&mut self) -> Vec<Vec<usize>> {
        let n = self.order.len();
        let start = usize::try_from(self.position.index).map_or(n, |i| i.min(n));
        if start == n {
            self.next_epoch();
            return self.next_window();
        }
        let window =
            self.options.batch_size.saturating_mul(self.options.gradient_accumulation_steps);
        let end = start.saturating_add(window).min(n);
        let rows = |&unit: &u32| match &self.packs {
            Some(packs) => packs[unit as usize].iter().map(|&row| row as usize).collect(),
            None => vec![unit as usize],
        };
        let batches = self.order[start..end].chunks(self.options.batch_size);
        let batches = batches.map(|units| units.iter().flat_map(rows).collect()).collect();
        self.position.index = end as u64;
        if end == n {
            self.next_epoch();
        }
        batches
    }

    /// Optimizer steps in an epoch.
    pub fn steps_per_epoch(&self) -> u64 {
        steps_per_epoch(self.lengths.len(), self.options)
    }

    fn next_epoch(&mut self) {
        self.position.epoch += 1;
        self.position.index = 0;
        self.order = self.order_of(self.position.epoch);
    }
}

/// Optimizer steps in an epoch of `rows`: ⌈⌈rows / batch⌉ / accumulation⌉.
pub fn steps_per_epoch(rows: usize, options: LoaderOptions) -> u64 {
    let micro = rows.div_ceil(options.batch_size.max(1));
    micro.div_ceil(options.gradient_accumulation_steps.max(1)) as u64
}

/// Optimizer steps of a run: `max_steps` if given, else ⌈epochs · steps per epoch⌉, as the HF
/// Trainer.
pub fn total_steps(steps_per_epoch: u64, epochs: f64, max_steps: Option<u64>) -> u64 {
    // A float-to-integer cast saturates; epochs were validated to be positive.
    max_steps.unwrap_or_else(|| (epochs * steps_per_epoch as f64).ceil() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(batch: usize, accumulation: usize) -> LoaderOptions {
        LoaderOptions {
            batch_size: batch,
            gradient_accumulation_steps: accumulation,
            ..LoaderOptions::default()
        }
    }

    fn sorted(order: &[u32]) -> Vec<u32> {
        let mut order = order.to_vec();
        order.sort_unstable();
        order
    }

    #[test]
    fn epoch_order_is_a_fixed_permutation() {
        let order = epoch_order(42, 0, 10);
        // Written down so that another platform or a new crate version cannot change it unnoticed.
        assert_eq!(order, [2, 9, 8, 1, 6, 0, 7, 4, 3, 5]);
        assert_eq!(sorted(&epoch_order(7, 3, 1000)), (0..1000).collect::<Vec<_>>());
        assert_ne!(epoch_order(42, 1, 10), order);
        assert_ne!(epoch_order(43, 0, 10), order);
        assert!(epoch_order(1, 0, 0).is_empty());
    }

    #[test]
    fn grouping_sorts_within_megabatches_and_puts_the_longest_first() {
        let lengths: Vec<u32> = (0..997).map(|i| (i * 7919) % 613 + 1).collect();
        let order = length_grouped_order(1, 0, &lengths, 8);
        assert_eq!(sorted(&order), (0..997).collect::<Vec<_>>());
        let of = |i: &u32| lengths[*i as usize];
        assert_eq!(of(&order[0]), *lengths.iter().max().unwrap());
        // 997 / 32 = 31 windows of 8: from the second row on, sorted inside each 248.
        for group in order.chunks(248) {
            assert!(group[1..].windows(2).all(|w| of(&w[0]) >= of(&w[1])));
        }
        // Not one global sort: the second megabatch begins with long rows again.
        assert!(of(&order[249]) > of(&order[247]));
        let padding = |order: &[u32]| -> u32 {
            order
                .chunks(8)
                .map(|b| b.iter().map(of).max().unwrap() * 8 - b.iter().map(of).sum::<u32>())
                .sum()
        };
        assert!(padding(&order) * 5 < padding(&epoch_order(1, 0, 997)));
        assert_eq!(sorted(&length_grouped_order(1, 0, &[3, 1, 2], 16)), [0, 1, 2]);
        assert!(length_grouped_order(1, 0, &[], 16).is_empty());
        // Of equal lengths the earliest is the longest: nothing moves.
        assert_eq!(length_grouped_order(1, 0, &[5; 100], 2), epoch_order(1, 0, 100));
    }

    #[test]
    fn windows_cover_each_epoch_once_and_keep_the_partial_ones() {
        let mut loader =
            Loader::new(vec![5; 11], options(2, 3), Position { seed: 9, ..Position::default() })
                .unwrap();
        let first = loader.next_window();
        assert_eq!(first.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 2]);
        assert!(!loader.at_epoch_end());
        assert_eq!(loader.epochs_done(), 6.0 / 11.0);
        let last = loader.next_window();
        assert_eq!(last.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(loader.at_epoch_end());
        assert_eq!(loader.position(), Position { seed: 9, epoch: 1, index: 0 });
        let seen: Vec<u32> = first.iter().chain(&last).flatten().map(|&r| r as u32).collect();
        assert_eq!(seen, epoch_order(9, 0, 11));
        assert_eq!(steps_per_epoch(11, options(2, 3)), 2);
        let second: Vec<u32> = loader.next_window().concat().iter().map(|&r| r as u32).collect();
        assert_eq!(second, epoch_order(9, 1, 11)[..6]);
    }

    #[test]
    fn a_saved_position_continues_exactly() {
        for (group_by_length, pack_tokens) in [(false, 0), (true, 0), (false, 9)] {
            let options = LoaderOptions { group_by_length, pack_tokens, ..options(3, 2) };
            let lengths: Vec<u32> = (0..20).map(|i| i % 7 + 1).collect();
            let mut whole =
                Loader::new(lengths.clone(), options, Position { seed: 5, ..Position::default() })
                    .unwrap();
            for _ in 0..9 {
                let text = serde_json::to_string(&whole.position()).unwrap();
                let mut resumed =
                    Loader::new(lengths.clone(), options, serde_json::from_str(&text).unwrap())
                        .unwrap();
                assert_eq!(resumed.next_window(), whole.next_window());
                assert_eq!(resumed.position(), whole.position());
            }
        }
    }

    #[test]
    fn packs_hold_every_row_once_within_their_tokens() {
        let lengths: Vec<u32> = (0..200).map(|i| (i * 37) % 90 + 4).collect();
        let made = packs(3, &lengths, 256);
        assert_eq!(sorted(&made.concat()), (0..200).collect::<Vec<_>>());
        let tokens = |pack: &Vec<u32>| pack.iter().map(|&r| lengths[r as usize]).sum::<u32>();
        assert!(made.iter().all(|pack| tokens(pack) <= 256));
        let filled = lengths.iter().sum::<u32>() as f64 / (256 * made.len()) as f64;
        assert!(filled > 0.75, "{filled}");
        assert_eq!(packs(3, &[9, 300, 9, 9], 18).concat().len(), 4);
        assert!(packs(3, &[9, 300, 9, 9], 18).contains(&vec![1]));
        let options = LoaderOptions { pack_tokens: 256, ..options(4, 2) };
        let start = Position { seed: 3, ..Position::default() };
        let mut loader = Loader::new(lengths.clone(), options, start).unwrap();
        assert_eq!(loader.packs.as_ref().unwrap(), &made);
        assert_eq!(loader.steps_per_epoch(), (made.len() as u64).div_ceil(2));
        let mut epochs = Vec::new();
        for _ in 0..2 {
            let mut seen = Vec::new();
            for _ in 0..loader.steps_per_epoch() {
                seen.extend(loader.next_window());
            }
            assert!(loader.at_epoch_end());
            let rows: Vec<u32> = seen.concat().iter().map(|&r| r as u32).collect();
            assert_eq!(sorted(&rows), (0..200).collect::<Vec<_>>());
            epochs.push(seen);
        }
        assert_ne!(epochs[0], epochs[1]);
    }

    #[test]
    fn bad_settings_and_positions_are_errors() {
        assert!(Loader::new(vec![], options(1, 1), Position::default()).is_err());
        assert!(Loader::new(vec![1], options(0, 1), Position::default()).is_err());
        assert!(Loader::new(vec![1], options(1, 0), Position::default()).is_err());
        let past = Position { index: 2, ..Position::default() };
        assert!(Loader::new(vec![1], options(1, 1), past).is_err());
        let mut end =
            Loader::new(vec![1; 2], options(1, 1), Position { index: 2, ..past }).unwrap();
        end.next_window();
        assert_eq!(end.position(), Position { seed: 0, epoch: 1, index: 1 });
    }

    #[test]
    fn steps_of_a_run_as_the_trainer_counts_them() {
        let o = options(4, 4);
        assert_eq!(steps_per_epoch(100, o), 7); // 25 micro-batches
        assert_eq!(total_steps(7, 3.0, None), 21);
        assert_eq!(total_steps(7, 0.5, None), 4);
        assert_eq!(total_steps(7, 3.0, Some(10)), 10);
        assert_eq!(steps_per_epoch(1, o), 1);
    }
}
