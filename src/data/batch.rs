//! One micro-batch: rows end to end, without padding, and what is predicted in them.

use super::Dataset;
use super::soft::SoftTargets;
use crate::{Error, Result};

/// The label of a token that is no target (PyTorch's `ignore_index`).
pub const IGNORE: i32 = -100;

/// A micro-batch of N tokens in all, sequence behind sequence: what the model computes with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// (N) token ids.
    pub ids: Vec<u32>,
    /// Where the sequences lie.
    pub segments: Vec<Segment>,
    /// What is predicted, by ascending row. The loss of a window is Σ NLL / Σ targets.
    pub targets: Vec<Target>,
    /// Distributions that training also aims at for some of the targets.
    pub soft: SoftTargets,
    /// Indices of the sequences in the dataset, for messages.
    pub rows: Vec<usize>,
}

/// Sequences of one length that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Tokens before the first of them.
    pub first: usize,
    /// Their number.
    pub sequences: usize,
    /// Tokens of each.
    pub length: usize,
}

/// A token that is predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The row among the N at which it is predicted: that of the token before it.
    pub row: u32,
    /// Its id.
    pub label: u32,
}

impl Segment {
    /// Position of each token in its sequence.
    pub fn positions(&self) -> impl Iterator<Item = u32> + use<> {
        let length = self.length;
        (0..self.sequences * length).map(move |i| (i % length) as u32)
    }
}

impl Batch {
    /// Puts rows of `dataset` together.
    ///
    /// **Errors** [`Error::Invalid`] if `rows` is empty or names a row that does not exist.
    pub fn new(dataset: &Dataset, rows: &[usize]) -> Result<Batch> {
        let mut batch = Batch::default();
        for &i in rows {
            let row = dataset.row(i)?;
            let predicted = row.spans.iter().flat_map(|&(from, to)| from as usize..to as usize);
            let (start, from) = (batch.ids.len(), batch.targets.len());
            batch.push(i, &row.ids, predicted);
            if let Some(numbers) = dataset.numbers() {
                let place = |target: &Target| target.row as usize + 1 - start;
                let places: Vec<usize> = batch.targets[from..].iter().map(place).collect();
                numbers.mark(&mut batch.soft, &row.ids, &places, from);
            }
        }
        match batch.ids.is_empty() {
            true => Err(Error::invalid("batch", "no rows")),
            false => Ok(batch),
        }
    }

    /// Adds a sequence, row `row` of its dataset; `predicted` are places of its targets in
    /// ascending order. Nothing predicts the first token.
    pub fn push(&mut self, row: usize, ids: &[u32], predicted: impl IntoIterator<Item = usize>) {
        let (first, length) = (self.ids.len(), ids.len());
        // Rows stay below 2^32: the ids would be 16 GiB before.
        let target = |i: usize| Target { row: (first + i - 1) as u32, label: ids[i] };
        self.targets.extend(predicted.into_iter().filter(|&i| i > 0).map(target));
        self.ids.extend_from_slice(ids);
        self.rows.push(row);
        match self.segments.last_mut() {
            Some(last) if last.length == length => last.sequences += 1,
            _ if length > 0 => self.segments.push(Segment { first, sequences: 1, length }),
            _ => {}
        }
    }

    /// A batch from another program's (B, T) arrays: sequences of `lengths`, padded on the right,
    /// and labels as the Hugging Face Trainer has them, not shifted: `labels[b, t]` is `ids[b, t]`,
    /// to be predicted at t - 1, or [`IGNORE`].
    ///
    /// **Errors** [`Error::Shape`] if the arrays do not fit, [`Error::Invalid`] for a label that is
    /// neither an id nor [`IGNORE`], a length over T, or a label behind a row's end.
    pub fn from_padded(ids: &[u32], labels: &[i32], lengths: &[usize], t: usize) -> Result<Batch> {
        let (b, n) = (lengths.len(), ids.len());
        if b == 0 || t == 0 || n != b.saturating_mul(t) || labels.len() != n {
            return Err(Error::Shape {
                op: "batch".into(),
                tensor: "ids, labels".into(),
                expected: format!("({b}, {t}) each, neither of them 0"),
                got: format!("{n} ids and {} labels", labels.len()),
            });
        }
        let bad = |why: String| Err(Error::invalid("batch", why));
        let mut batch = Batch::default();
        let rows = ids.chunks_exact(t).zip(labels.chunks_exact(t)).zip(lengths);
        for (row, ((ids, labels), &length)) in rows.enumerate() {
            if length > t {
                return bad(format!("row {row} has length {length}, over {t}"));
            }
            if labels[length..].iter().any(|&l| l != IGNORE) {
                return bad(format!("row {row} has a label in its padding"));
            }
            if let Some(label) = labels.iter().find(|&&l| l < 0 && l != IGNORE) {
                return bad(format!("label {label}; expected an id or {IGNORE}"));
            }
            let first = batch.targets.len();
            batch.push(row, &ids[..length], (0..length).filter(|&i| labels[i] != IGNORE));
            // A label may be another token than the one that stands there.
            let given = labels.iter().skip(1).filter(|&&l| l != IGNORE);
            for (target, &label) in batch.targets[first..].iter_mut().zip(given) {
                target.label = label as u32;
            }
        }
        Ok(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{DatasetOptions, Encode};

    struct Bytes;
    impl Encode for Bytes {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Ok(text.bytes().map(u32::from).collect())
        }
        fn eos(&self) -> Option<u32> {
            Some(2)
        }
    }

    fn dataset() -> Dataset {
        let text = "{\"prompt\":\"AB\",\"completion\":\"C\"}\n{\"text\":\"XY\"}\n{\"prompt\":\"\",\"completion\":\"PQRS\"}";
        Dataset::from_text("d", text.as_bytes(), &Bytes, &DatasetOptions::default()).unwrap()
    }

    fn targets(batch: &Batch) -> Vec<(u32, u32)> {
        batch.targets.iter().map(|target| (target.row, target.label)).collect()
    }

    #[test]
    fn rows_lie_end_to_end_and_predict_their_targets() {
        let b = Batch::new(&dataset(), &[1, 0, 2, 1]).unwrap();
        assert_eq!(b.ids, [88, 89, 2, 65, 66, 67, 2, 80, 81, 82, 83, 2, 88, 89, 2]);
        let segment = |first, sequences, length| Segment { first, sequences, length };
        assert_eq!(
            b.segments,
            [segment(0, 1, 3), segment(3, 1, 4), segment(7, 1, 5), segment(12, 1, 3)]
        );
        let positions =
            |b: &Batch| b.segments.iter().flat_map(Segment::positions).collect::<Vec<_>>();
        assert_eq!(positions(&b), [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2]);
        assert_eq!(targets(&b)[..4], [(0, 89), (1, 2), (4, 67), (5, 2)]);
        // The last token of a sequence predicts nothing of the next one.
        assert!(b.targets.iter().all(|t| ![2, 6, 11, 14].contains(&t.row)));
        assert_eq!(b.rows, [1, 0, 2, 1]);
        let equal = Batch::new(&dataset(), &[2, 2, 0]).unwrap();
        assert_eq!(equal.segments, [segment(0, 2, 5), segment(10, 1, 4)]);
        assert_eq!(positions(&equal)[..10], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_first_token_and_the_row_border_are_no_targets() {
        let b = Batch::new(&dataset(), &[2, 2]).unwrap();
        assert_eq!(b.targets.len(), 8);
        // Row 4 (the end of the first sequence) must not predict the second's first token.
        assert!(b.targets.iter().all(|target| target.row != 4 && target.row != 9));
    }

    #[test]
    fn dataset_and_batches_agree_on_the_targets() {
        let d = dataset();
        let per_row: usize = d.rows().map(|row| row.unwrap().targets()).sum();
        let b = Batch::new(&d, &[0, 1, 2]).unwrap();
        assert_eq!((b.targets.len(), d.report().target_tokens), (per_row, per_row));
    }

    #[test]
    fn padded_arrays_are_checked_and_lose_their_padding() {
        // The pad id is EOS: the real EOS must stay a target. A label may be another token.
        let ids = [88, 89, 2, 2, 65, 66, 67, 2];
        let labels = [88, 7, 2, IGNORE, IGNORE, IGNORE, 67, 2];
        let b = Batch::from_padded(&ids, &labels, &[3, 4], 4).unwrap();
        assert_eq!(b.ids, [88, 89, 2, 65, 66, 67, 2]);
        assert_eq!(targets(&b), [(0, 7), (1, 2), (4, 67), (5, 2)]);
        let bad = |ids: usize, labels: &[i32], lengths: &[usize], t| {
            Batch::from_padded(&vec![0; ids], labels, lengths, t).is_err()
        };
        assert!(bad(3, &[0; 4], &[2, 2], 2));
        assert!(bad(4, &[0; 3], &[2, 2], 2));
        assert!(bad(4, &[0, -1, 0, 0], &[2, 2], 2));
        assert!(bad(4, &[0; 4], &[2, 3], 2));
        assert!(bad(4, &[0; 4], &[2, 1], 2));
        assert!(bad(0, &[], &[], 2));
        assert!(bad(0, &[], &[0, 0], 0));
    }

    #[test]
    fn bad_rows_are_errors() {
        assert!(Batch::new(&dataset(), &[]).is_err());
        assert!(Batch::new(&dataset(), &[3]).is_err());
    }
}
