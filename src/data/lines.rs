//! Lines of a file that may end in LF, CRLF or CR alone, as old spreadsheets and Macs write them.

use std::io::BufRead;

use super::records::MOST_BYTES;
use crate::{Error, Result};

/// Reads a line at a time.
pub(super) struct Lines<'a, R> {
    name: &'a str,
    source: R,
    /// The line that was read last, its end included.
    pub(super) bytes: Vec<u8>,
    /// Its number, from 1.
    pub(super) line: usize,
}

impl<'a, R: BufRead> Lines<'a, R> {
    pub(super) fn new(name: &'a str, source: R) -> Lines<'a, R> {
        Lines { name, source, bytes: Vec::new(), line: 0 }
    }

    /// An error in a line.
    pub(super) fn bad(&self, line: usize, why: impl ToString) -> Error {
        Error::format(self.name, format!("line {line}"), why)
    }

    /// Reads the next line; false at the end of the file.
    ///
    /// **Errors** [`Error::Format`] for a line of more than [`MOST_BYTES`], [`Error::Io`].
    pub(super) fn read(&mut self) -> Result<bool> {
        self.bytes.clear();
        loop {
            let held = self.source.fill_buf().map_err(Error::io(self.name))?;
            let after_cr = self.bytes.last() == Some(&b'\r');
            // A line end that began in the buffer before is complete with or without this byte.
            let taken = match held {
                [] => break,
                [b'\n', ..] if after_cr => Some(1),
                _ if after_cr => Some(0),
                _ => held.iter().position(|b| matches!(b, b'\n' | b'\r')).map(|at| at + 1),
            };
            let len = taken.unwrap_or(held.len());
            self.bytes.extend_from_slice(&held[..len]);
            self.source.consume(len);
            if self.bytes.len() > MOST_BYTES {
                let why = format!("is longer than {} MiB", MOST_BYTES >> 20);
                return Err(self.bad(self.line + 1, why));
            }
            if taken.is_some() && (after_cr || self.bytes.last() == Some(&b'\n')) {
                break;
            }
        }
        self.line += usize::from(!self.bytes.is_empty());
        Ok(!self.bytes.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_in_any_way_wherever_the_buffer_ends() {
        let text = b"a\r\nb\rc\n\r\n\r\rd\r\n\ne";
        let expected: [&[u8]; 9] =
            [b"a\r\n", b"b\r", b"c\n", b"\r\n", b"\r", b"\r", b"d\r\n", b"\n", b"e"];
        for size in 1..=text.len() {
            let mut lines = Lines::new("x", std::io::BufReader::with_capacity(size, &text[..]));
            for (i, line) in expected.into_iter().enumerate() {
                assert!(lines.read().unwrap());
                assert_eq!((lines.line, &lines.bytes[..]), (i + 1, line), "{size}");
            }
            assert!(!lines.read().unwrap());
        }
    }
}
