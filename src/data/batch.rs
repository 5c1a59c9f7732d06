//! One micro-batch: rows padded to a rectangle, with labels as the HF Trainer has them.

use super::Dataset;
use crate::{Error, Result};

/// The label of a token that is no target (PyTorch's `ignore_index`).
pub const IGNORE: i32 = -100;

/// A micro-batch of B rows of T tokens, row-major, padded on the right.
///
/// Labels are not shifted: `labels[b, t]` is `ids[b, t]` or [`IGNORE`]; the prediction for it is made
/// at position t - 1. Padding is masked by position, never by id, so a pad id equal to EOS is fine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// (B, T) token ids.
    pub ids: Vec<u32>,
    /// (B) tokens of each row without padding.
    pub lengths: Vec<usize>,
    /// (B, T) labels.
    pub labels: Vec<i32>,
    /// (B) indices of the rows in the dataset, for messages.
    pub rows: Vec<usize>,
    /// Tokens a row, padding included: those of the longest row.
    pub t: usize,
}

/// Sequences of one length that follow each other in [`Packed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Tokens before the first of them.
    pub first: usize,
    /// Their number.
    pub sequences: usize,
    /// Tokens of each.
    pub length: usize,
}

/// A batch's N tokens without its padding, sequence behind sequence: what the model computes with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Packed {
    /// (N) token ids.
    pub ids: Vec<u32>,
    /// Where the sequences lie.
    pub segments: Vec<Segment>,
    /// The positions among the N where something is predicted, and what, as [`Batch::targets`].
    pub targets: Vec<(u32, u32)>,
}

impl Segment {
    /// Position of each token in its sequence.
    pub fn positions(&self) -> impl Iterator<Item = u32> + use<> {
        let length = self.length;
        (0..self.sequences * length).map(move |i| (i % length) as u32)
    }
}

impl Batch {
    /// Puts rows of `dataset` together, padded with `pad` to the longest of them.
    ///
    /// **Errors** [`Error::Invalid`] if `rows` is empty or names a row that does not exist.
    pub fn new(dataset: &Dataset, rows: &[usize], pad: u32) -> Result<Batch> {
        let parts: Vec<_> = rows.iter().map(|&i| dataset.row(i)).collect::<Result<_>>()?;
        let t = parts.iter().map(|row| row.ids.len()).max().unwrap_or(0);
        if t == 0 {
            return Err(Error::invalid("batch", "no rows"));
        }
        let mut ids = Vec::with_capacity(t * rows.len());
        let mut labels = Vec::with_capacity(t * rows.len());
        for row in &parts {
            let first = labels.len();
            ids.extend_from_slice(&row.ids);
            labels.resize(ids.len(), IGNORE);
            for i in row.spans.iter().flat_map(|&(from, to)| from as usize..to as usize) {
                labels[first + i] = label(row.ids[i])?;
            }
            let filled = ids.len().next_multiple_of(t);
            ids.resize(filled, pad);
            labels.resize(filled, IGNORE);
        }
        let lengths = parts.iter().map(|row| row.ids.len()).collect();
        Ok(Batch { ids, lengths, labels, rows: rows.to_vec(), t })
    }

    /// A batch from finished (B, T) arrays, such as another program's.
    ///
    /// **Errors** [`Error::Shape`] if the arrays do not fit, [`Error::Invalid`] for a label that is
    /// neither an id nor [`IGNORE`], a length over T, or a label behind a row's end.
    pub fn from_parts(
        ids: Vec<u32>,
        labels: Vec<i32>,
        lengths: Vec<usize>,
        t: usize,
    ) -> Result<Batch> {
        let (b, n) = (lengths.len(), ids.len());
        if b == 0 || t == 0 || n != b.saturating_mul(t) || labels.len() != n {
            return Err(Error::Shape {
                op: "batch".into(),
                tensor: "ids, labels".into(),
                expected: format!("({b}, {t}) each, neither of them 0"),
                got: format!("{n} ids and {} labels", labels.len()),
            });
        }
        for (row, &length) in lengths.iter().enumerate() {
            if length > t {
                return Err(Error::invalid(
                    "batch",
                    format!("row {row} has length {length}, over {t}"),
                ));
            }
            if labels[row * t..][length..t].iter().any(|&l| l != IGNORE) {
                return Err(Error::invalid(
                    "batch",
                    format!("row {row} has a label in its padding"),
                ));
            }
        }
        if let Some(bad) = labels.iter().find(|&&l| l < 0 && l != IGNORE) {
            return Err(Error::invalid(
                "batch",
                format!("label {bad}; expected an id or {IGNORE}"),
            ));
        }
        Ok(Batch { ids, lengths, labels, rows: (0..b).collect(), t })
    }

    /// Number of rows, B.
    pub fn b(&self) -> usize {
        self.lengths.len()
    }

    /// The positions where something is predicted, and what: (b · T + t, labels[b, t + 1]) for every
    /// label that is not [`IGNORE`], in ascending order. The head and the loss run on these rows only.
    pub fn targets(&self) -> Vec<(u32, u32)> {
        let mut targets = Vec::new();
        for (b, row) in self.labels.chunks_exact(self.t.max(1)).enumerate() {
            for (t, next) in row.iter().skip(1).enumerate() {
                // Positions stay below 2^32: the arrays would be 16 GiB before.
                if let (Ok(label), Ok(p)) = (u32::try_from(*next), u32::try_from(b * self.t + t)) {
                    targets.push((p, label));
                }
            }
        }
        targets
    }

    /// The batch without its padding.
    pub fn packed(&self) -> Packed {
        let mut packed = Packed::default();
        // Where each row begins, less where it began with padding.
        let mut begin = Vec::with_capacity(self.b());
        for (row, &length) in self.lengths.iter().enumerate() {
            let first = packed.ids.len();
            begin.push(first);
            packed.ids.extend_from_slice(&self.ids[row * self.t..][..length]);
            match packed.segments.last_mut() {
                Some(last) if last.length == length => last.sequences += 1,
                _ if length > 0 => packed.segments.push(Segment { first, sequences: 1, length }),
                _ => {}
            }
        }
        let place = |&(at, label): &(u32, u32)| {
            let (row, t) = (at as usize / self.t.max(1), at as usize % self.t.max(1));
            ((begin[row] + t) as u32, label)
        };
        packed.targets = self.targets().iter().map(place).collect();
        packed
    }

    /// Number of targets: labels[:, 1:] ≠ -100. The loss of a window is Σ NLL / Σ targets.
    pub fn target_count(&self) -> usize {
        let rows = self.labels.chunks_exact(self.t.max(1));
        rows.map(|row| row.iter().skip(1).filter(|&&l| l >= 0).count()).sum()
    }

    /// Tokens without padding.
    pub fn token_count(&self) -> usize {
        self.lengths.iter().sum()
    }

    /// **Errors** [`Error::Invalid`] if an id or a label is not below `vocab_size`; names row and place.
    pub fn check_ids(&self, vocab_size: usize) -> Result<()> {
        let label = |&l: &i32| usize::try_from(l).is_ok_and(|l| l >= vocab_size);
        let bad = self.ids.iter().position(|&id| id as usize >= vocab_size);
        match bad.or_else(|| self.labels.iter().position(label)) {
            None => Ok(()),
            Some(at) => {
                let (row, token) = (self.rows[at / self.t], at % self.t);
                let id = self.ids[at];
                let why = format!(
                    "row {row}, token {token}: id {id} (label {}) is outside the model's vocabulary of \
                     {vocab_size}; use the tokenizer that belongs to the model",
                    self.labels[at]
                );
                Err(Error::invalid("token id", why))
            }
        }
    }
}

fn label(id: u32) -> Result<i32> {
    i32::try_from(id).map_err(|_| Error::invalid("token id", format!("{id} is over {}", i32::MAX)))
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

    #[test]
    fn rows_are_padded_right_and_labels_masked_by_position() {
        // The pad id is EOS: the real EOS must stay a target.
        let b = Batch::new(&dataset(), &[1, 0], 2).unwrap();
        assert_eq!((b.t, b.b()), (4, 2));
        assert_eq!(b.ids, [88, 89, 2, 2, 65, 66, 67, 2]);
        assert_eq!(b.labels, [88, 89, 2, IGNORE, IGNORE, IGNORE, 67, 2]);
        assert_eq!(b.lengths, [3, 4]);
        assert_eq!(b.rows, [1, 0]);
        assert_eq!(b.targets(), [(0, 89), (1, 2), (5, 67), (6, 2)]);
        assert_eq!((b.target_count(), b.token_count()), (4, 7));
    }

    #[test]
    fn packed_rows_lie_end_to_end_and_predict_the_same() {
        let b = Batch::new(&dataset(), &[1, 0, 2, 1], 2).unwrap();
        let packed = b.packed();
        assert_eq!(packed.ids, [88, 89, 2, 65, 66, 67, 2, 80, 81, 82, 83, 2, 88, 89, 2]);
        let segment = |first, sequences, length| Segment { first, sequences, length };
        assert_eq!(
            packed.segments,
            [segment(0, 1, 3), segment(3, 1, 4), segment(7, 1, 5), segment(12, 1, 3)]
        );
        let positions =
            |p: &Packed| p.segments.iter().flat_map(Segment::positions).collect::<Vec<_>>();
        assert_eq!(positions(&packed), [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4, 0, 1, 2]);
        let labels = |targets: &[(u32, u32)]| targets.iter().map(|t| t.1).collect::<Vec<_>>();
        assert_eq!(labels(&packed.targets), labels(&b.targets()));
        assert_eq!(packed.targets[..4], [(0, 89), (1, 2), (4, 67), (5, 2)]);
        // The last token of a sequence predicts nothing of the next one.
        assert!(packed.targets.iter().all(|t| ![2, 6, 11, 14].contains(&t.0)));
        let equal = Batch::new(&dataset(), &[2, 2, 0], 2).unwrap().packed();
        assert_eq!(equal.segments, [segment(0, 2, 5), segment(10, 1, 4)]);
        assert_eq!(positions(&equal)[..10], [0, 1, 2, 3, 4, 0, 1, 2, 3, 4]);
    }

    #[test]
    fn the_first_label_and_the_row_border_are_no_targets() {
        let b = Batch::new(&dataset(), &[2, 2], 0).unwrap();
        assert_eq!(b.labels[0], 80);
        assert_eq!(b.target_count(), 8);
        // Position 4 (end of row 0) must not predict row 1's first token.
        assert!(b.targets().iter().all(|&(p, _)| p != 4 && p != 9));
        assert_eq!(b.targets().len(), b.target_count());
    }

    #[test]
    fn dataset_and_batches_agree_on_the_targets() {
        let d = dataset();
        let per_row: usize = d.rows().map(|row| row.unwrap().targets()).sum();
        let b = Batch::new(&d, &[0, 1, 2], 0).unwrap();
        assert_eq!((b.target_count(), d.report().target_tokens), (per_row, per_row));
    }

    #[test]
    fn finished_arrays_are_checked() {
        let good = Batch::from_parts(vec![1, 2, 3, 0], vec![1, 2, 3, -100], vec![2, 1], 2).unwrap();
        assert_eq!(good.targets(), [(0, 2)]);
        let bad = |ids: usize, labels: &[i32], lengths: &[usize], t| {
            Batch::from_parts(vec![0; ids], labels.to_vec(), lengths.to_vec(), t).is_err()
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
    fn bad_rows_and_ids_are_errors() {
        assert!(Batch::new(&dataset(), &[], 0).is_err());
        assert!(Batch::new(&dataset(), &[3], 0).is_err());
        let b = Batch::new(&dataset(), &[1, 0], 0).unwrap();
        assert!(b.check_ids(90).is_ok());
        let message = b.check_ids(67).unwrap_err().to_string();
        assert!(message.contains("row 1, token 0: id 88"), "{message}");
    }
}
