//! CSV after RFC 4180: a header, then one record a line, fields in quotes where they hold the
//! separator, quotes or line ends. Written here because broken quoting must be an error with its line:
//! the readers at hand take the rest of the file for one field, in silence.

use std::io::{BufRead, Read};

use serde_json::Value;

use super::records::{MOST_BYTES, Record};
use crate::{Error, Result};

/// A header of more columns is none: the separator is another one, or this is no table.
const MOST_COLUMNS: usize = 2048;

/// Calls `each(line, record)` for every record behind the header. The separator is the one of comma,
/// semicolon and tab that the header line has most of.
pub(super) fn for_each(
    name: &str,
    source: impl BufRead,
    mut each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    let mut reader = Reader { name, source, bytes: Vec::new(), line: 0 };
    let Some(at) = reader.next_line()? else { return Ok(0) };
    let separator = separator(&reader.bytes);
    let mut columns: Vec<String> = Vec::new();
    let (names, count) = reader.fields(separator, MOST_COLUMNS)?;
    if count > MOST_COLUMNS {
        let why = format!(
            "has {count} columns with `{}` between them; at most {MOST_COLUMNS} are read",
            char::from(separator)
        );
        return Err(reader.bad(at, why));
    }
    for column in names {
        let column = column.trim().to_owned();
        if columns.contains(&column) {
            let why = format!("two columns are called `{column}`; rename one");
            return Err(reader.bad(at, why));
        }
        columns.push(column);
    }
    let mut records = 0;
    while let Some(line) = reader.next_line()? {
        let (fields, count) = reader.fields(separator, columns.len())?;
        if count != columns.len() {
            let why = format!(
                "has {count} fields, the header has {}; put a field that holds `{}` in quotes",
                columns.len(),
                char::from(separator)
            );
            return Err(reader.bad(line, why));
        }
        let values = fields.into_iter().map(Value::String);
        each(line, columns.iter().cloned().zip(values).collect())?;
        records += 1;
    }
    Ok(records)
}

/// The most frequent of comma, semicolon and tab outside quotes; comma if there is none.
fn separator(header: &[u8]) -> u8 {
    let count = |wanted: u8| {
        let mut quoted = false;
        let outside = |&&byte: &&u8| {
            quoted ^= byte == b'"';
            byte == wanted && !quoted
        };
        header.iter().filter(outside).count()
    };
    // The last of equals wins.
    b"\t;,".iter().copied().max_by_key(|&s| count(s)).unwrap_or(b',')
}

struct Reader<'a, R> {
    name: &'a str,
    source: R,
    /// The line that was read last, its end included.
    bytes: Vec<u8>,
    /// Its number, from 1.
    line: usize,
}

impl<R: BufRead> Reader<'_, R> {
    fn bad(&self, line: usize, why: impl ToString) -> Error {
        Error::format(self.name, format!("line {line}"), why)
    }

    /// Reads the next line, blank or not; false at the end of the file.
    fn read(&mut self) -> Result<bool> {
        self.bytes.clear();
        let most = MOST_BYTES as u64 + 1;
        let read = self.source.by_ref().take(most).read_until(b'\n', &mut self.bytes);
        if read.map_err(Error::io(self.name))? == 0 {
            return Ok(false);
        }
        self.line += 1;
        match self.bytes.len() > MOST_BYTES {
            true => Err(self.bad(self.line, format!("is longer than {} MiB", MOST_BYTES >> 20))),
            false => Ok(true),
        }
    }

    /// Reads the next line that is not blank and returns its number.
    fn next_line(&mut self) -> Result<Option<usize>> {
        while self.read()? {
            if !self.bytes.trim_ascii().is_empty() {
                return Ok(Some(self.line));
            }
        }
        Ok(None)
    }

    /// The first `most` fields of the record that begins with the present line, and how many it has;
    /// reads on where a quoted field has line ends.
    fn fields(&mut self, separator: u8, most: usize) -> Result<(Vec<String>, usize)> {
        let (mut fields, mut count, mut at) = (Vec::new(), 0, 0);
        loop {
            let mut field = Vec::new();
            let line = self.line;
            if self.bytes.get(at) == Some(&b'"') {
                at = self.quoted(at + 1, &mut field)?;
            } else {
                let rest = &self.bytes[at..];
                let ends = |&byte: &u8| byte == separator || byte == b'\n';
                let len = rest.iter().position(ends).unwrap_or(rest.len());
                field.extend_from_slice(&rest[..len]);
                at += len;
                if self.bytes.get(at) != Some(&separator) && field.last() == Some(&b'\r') {
                    field.pop();
                }
            }
            count += 1;
            if count <= most {
                let text = String::from_utf8(field);
                fields.push(text.map_err(|_| self.bad(line, "not UTF-8; save the file as UTF-8"))?);
            }
            let rest = &self.bytes[at..];
            match rest {
                [] | [b'\n'] | [b'\r', b'\n'] | [b'\r'] => return Ok((fields, count)),
                [byte, ..] if *byte == separator => at += 1,
                _ => {
                    let why =
                        "has text behind a closing quote; write a quote inside quotes twice (\"\")";
                    return Err(self.bad(self.line, why));
                }
            }
        }
    }

    /// Copies a quoted field from behind its opening quote and returns the place behind the closing one.
    fn quoted(&mut self, mut at: usize, field: &mut Vec<u8>) -> Result<usize> {
        let opened = self.line;
        loop {
            let rest = &self.bytes[at..];
            let Some(len) = rest.iter().position(|&byte| byte == b'"') else {
                field.extend_from_slice(rest);
                let unclosed = "a quote that opens here is not closed";
                if field.len() > MOST_BYTES {
                    let why = format!("{unclosed} within {} MiB", MOST_BYTES >> 20);
                    return Err(self.bad(opened, why));
                }
                if !self.read()? {
                    return Err(self.bad(opened, format!("{unclosed} until the end of the file")));
                }
                at = 0;
                continue;
            };
            field.extend_from_slice(&rest[..len]);
            at += len + 1;
            if self.bytes.get(at) != Some(&b'"') {
                return Ok(at);
            }
            field.push(b'"');
            at += 1;
        }
    }
}
