//! A dataset for another process: its rows as bytes, in pieces.

use super::dataset::{Dataset, DatasetOptions};
use super::encode::{Encode, to_u32};
use super::report::DatasetReport;
use super::soft::Numbers;
use crate::format::RowFormat;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Words of a piece, about: 16 MiB.
const PIECE: usize = 4 << 20;

/// The first piece, as JSON: everything but the rows.
#[derive(Serialize, Deserialize)]
struct Head {
    rows: usize,
    names: Vec<String>,
    report: DatasetReport,
    unread: BTreeSet<String>,
    formats: BTreeMap<RowFormat, usize>,
}

impl Dataset {
    /// The dataset in pieces of some 16 MiB, for [`Dataset::from_pieces`].
    pub fn pieces(&self) -> impl Iterator<Item = Result<Vec<u8>>> {
        self.pieces_of(PIECE)
    }

    fn pieces_of(&self, words: usize) -> impl Iterator<Item = Result<Vec<u8>>> {
        let head = Head {
            rows: self.len(),
            names: self.names.clone(),
            report: self.report,
            unread: self.unread.clone(),
            formats: self.formats.clone(),
        };
        let head = serde_json::to_vec(&head).map_err(|e| Error::invalid("dataset", e));
        let mut next = 0;
        let rows = std::iter::from_fn(move || {
            let mut piece = Vec::new();
            while next < self.len() && piece.len() < words {
                if let Err(error) = self.write(next, &mut piece) {
                    return Some(Err(error));
                }
                next += 1;
            }
            let bytes = || piece.iter().flat_map(|word| word.to_le_bytes()).collect();
            (!piece.is_empty()).then(|| Ok(bytes()))
        });
        std::iter::once(head).chain(rows)
    }

    /// Row `i` in words: its file, its line, how many spans and ids it has, and those.
    fn write(&self, i: usize, words: &mut Vec<u32>) -> Result<()> {
        let ((file, line), spans, ids) = self.stored(i)?;
        words.extend([file, line, to_u32(spans.len()), to_u32(ids.len())]);
        words.extend(spans.iter().flat_map(|&(from, to)| [from, to]));
        words.extend(ids);
        Ok(())
    }

    /// The dataset whose [`pieces`](Dataset::pieces) `next` gives, one a call, as read by this
    /// tokenizer with these options.
    ///
    /// **Errors** what `next` fails by; [`Error::Invalid`] where they are no such pieces;
    /// [`Error::Io`] where the tokens find no room.
    pub fn from_pieces(
        mut next: impl FnMut() -> Result<Vec<u8>>,
        tokenizer: &(impl Encode + ?Sized),
        options: &DatasetOptions,
    ) -> Result<Dataset> {
        let head = serde_json::from_slice(&next()?).map_err(|e| Error::invalid("dataset", e));
        let Head { rows, names, report, unread, formats } = head?;
        let numbers = options.numbers.map(|term| Numbers::new(tokenizer, term)).transpose()?;
        let mut dataset = Dataset::default();
        dataset.numbers = numbers;
        while dataset.len() < rows {
            let piece = next()?;
            let words = piece.as_chunks().0.iter().map(|word| u32::from_le_bytes(*word));
            let words = Vec::from_iter(words);
            let mut rest = words.as_slice();
            while !rest.is_empty() {
                rest = dataset.read_row(rest, options)?;
            }
        }
        (dataset.names, dataset.report) = (names, report);
        (dataset.unread, dataset.formats) = (unread, formats);
        Ok(dataset)
    }

    /// Adds the row that the words begin with, and returns those behind it.
    fn read_row<'a>(&mut self, words: &'a [u32], options: &DatasetOptions) -> Result<&'a [u32]> {
        let ends = || Error::invalid("dataset", "a piece ends within a row");
        let ([file, line, spans, ids], rest) = words.split_first_chunk().ok_or_else(ends)?;
        let (spans, rest) = rest.split_at_checked(2 * *spans as usize).ok_or_else(ends)?;
        let (ids, rest) = rest.split_at_checked(*ids as usize).ok_or_else(ends)?;
        let spans = Vec::from_iter(spans.as_chunks().0.iter().map(|&[from, to]| (from, to)));
        self.keep((*file, *line), &spans, ids, options)?;
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{NumberLoss, NumberTerm};

    /// A letter is a token, 0 the end.
    struct Letters;

    impl Encode for Letters {
        fn encode(&self, text: &str) -> Result<Vec<u32>> {
            Ok(text.bytes().map(u32::from).collect())
        }
        fn encode_inside(&self, text: &str) -> Result<Vec<u32>> {
            self.encode(text)
        }
        fn eos(&self) -> Option<u32> {
            Some(0)
        }
    }

    fn options() -> DatasetOptions {
        let numbers = NumberTerm {
            loss: NumberLoss::Soft,
            weight: 0.5,
            width: Default::default(),
            tokens: Default::default(),
        };
        DatasetOptions { max_length: 20, numbers: Some(numbers), ..DatasetOptions::default() }
    }

    fn example() -> Dataset {
        let mut all = Dataset::default();
        let row = |i: usize| {
            format!(
                "{{\"prompt\":\"{}$\",\"completion\":\"{i}\",\"id\":{i}}}\n",
                "x".repeat(i % 25)
            )
        };
        let texts = ["a", "b"].map(|name| (name, (0..40).map(row).collect::<String>()));
        for (name, text) in texts {
            all.read(name, text.as_bytes(), &Letters, &options()).unwrap();
        }
        all
    }

    fn again(pieces: Vec<Vec<u8>>) -> Result<Dataset> {
        let mut pieces = pieces.into_iter();
        let next = || pieces.next().ok_or_else(|| Error::invalid("pieces", "are too few"));
        Dataset::from_pieces(next, &Letters, &options())
    }

    #[test]
    fn a_dataset_in_pieces_of_any_size_is_the_same_elsewhere() {
        let all = example();
        assert!(all.report().rows_cut > 0 && all.report().rows_without_target > 0);
        for (words, pieces) in [(1, 1 + all.len()), (100, 0), (PIECE, 2)] {
            let sent: Vec<_> = all.pieces_of(words).collect::<Result<_>>().unwrap();
            assert!(pieces == 0 || sent.len() == pieces);
            let other = again(sent).unwrap();
            assert_eq!(other.fingerprint(), all.fingerprint());
            assert_eq!(other.report(), all.report());
            assert_eq!(other.row_format(), all.row_format());
            assert_eq!(other.largest_id(), all.largest_id());
            assert_eq!(other.soft_entries(), all.soft_entries());
            assert!(other.soft_entries().iter().any(|&entries| entries > 1));
            assert!(other.unread_columns().eq(["id"]) && all.unread_columns().eq(["id"]));
            for i in 0..all.len() {
                assert_eq!(other.row(i).unwrap(), all.row(i).unwrap());
                assert_eq!(other.origin(i), all.origin(i));
            }
        }
    }

    #[test]
    fn half_a_piece_and_a_missing_one_are_errors() {
        let mut sent: Vec<_> = example().pieces_of(50).collect::<Result<_>>().unwrap();
        sent[1].truncate(12);
        assert!(again(sent.clone()).unwrap_err().to_string().contains("ends within a row"));
        assert!(again(vec![sent.remove(0)]).unwrap_err().to_string().contains("too few"));
    }
}
