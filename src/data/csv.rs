//! CSV after RFC 4180, as `pandas.read_csv(dtype=str, keep_default_na=False)` reads it: a header,
//! then one record a line, fields in quotes where they hold the separator, quotes or line ends.
//! Written here because broken quoting and rows of other lengths must be errors with their line:
//! the readers at hand fill up, or take the rest of the file for one field, in silence.

use std::io::BufRead;

use serde_json::Value;

use super::lines::Lines;
use super::records::{MOST_BYTES, Record};
use crate::Result;

/// A header of more columns is none: the separator is another one, or this is no table.
const MOST_COLUMNS: usize = 2048;

/// Calls `each(line, record)` for every record behind the header. The separator is the one of
/// comma, semicolon, tab and bar that the header line has most of (`tabs`: a tab if there is one),
/// or what Excel's `sep=;` above the header says.
pub(super) fn for_each(
    name: &str,
    source: impl BufRead,
    tabs: bool,
    mut each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    let mut reader = Reader { lines: Lines::new(name, source), separator: 0 };
    let Some(mut at) = reader.next_line()? else { return Ok(0) };
    match said_separator(&reader.lines.bytes) {
        Some(said) => {
            reader.separator = said;
            match reader.next_line()? {
                Some(line) => at = line,
                None => return Ok(0),
            }
        }
        None => reader.separator = separator(&reader.lines.bytes, tabs),
    }
    let columns = reader.header(at)?;
    let mut records = 0;
    while let Some(line) = reader.next_line()? {
        let (fields, count) = reader.fields(columns.len())?;
        if count != columns.len() {
            return Err(reader.ragged(line, count, &columns, at));
        }
        let values = fields.into_iter().map(Value::String);
        each(line, columns.iter().cloned().zip(values).collect())?;
        records += 1;
    }
    Ok(records)
}

/// The separator that a first line of Excel's names: `sep=;`, perhaps in quotes.
fn said_separator(line: &[u8]) -> Option<u8> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(b"\"").and_then(|l| l.strip_suffix(b"\"")).unwrap_or(line);
    let (word, mark) = line.split_at_checked(4)?;
    match *mark {
        [mark] if word.eq_ignore_ascii_case(b"sep=") && mark != b'"' => {
            (mark == b'\t' || mark.is_ascii_punctuation()).then_some(mark)
        }
        _ => None,
    }
}

/// The most frequent of comma, semicolon, tab and bar outside quotes; comma if there is none.
fn separator(header: &[u8], tabs: bool) -> u8 {
    let count = |wanted: u8| {
        let mut quoted = false;
        let outside = |&&byte: &&u8| {
            quoted ^= byte == b'"';
            byte == wanted && !quoted
        };
        header.iter().filter(outside).count()
    };
    if tabs && count(b'\t') > 0 {
        return b'\t';
    }
    // The last of equals wins.
    b"|\t;,".iter().copied().max_by_key(|&s| count(s)).unwrap_or(b',')
}

struct Reader<'a, R> {
    lines: Lines<'a, R>,
    separator: u8,
}

impl<R: BufRead> Reader<'_, R> {
    fn bad(&self, line: usize, why: impl ToString) -> crate::Error {
        self.lines.bad(line, why)
    }

    /// The names of the columns: without the spaces around them; a column without a name, as pandas
    /// writes its index, is called as pandas calls it.
    fn header(&mut self, at: usize) -> Result<Vec<String>> {
        let mut columns: Vec<String> = Vec::new();
        let (names, count) = self.fields(MOST_COLUMNS)?;
        if count > MOST_COLUMNS {
            let mark = char::from(self.separator);
            let why = format!(
                "has {count} columns with `{mark}` between them; at most {MOST_COLUMNS} are read"
            );
            return Err(self.bad(at, why));
        }
        for (i, column) in names.into_iter().enumerate() {
            let column = match column.trim() {
                "" => format!("Unnamed: {i}"),
                column => column.to_owned(),
            };
            if columns.contains(&column) {
                return Err(self.bad(at, format!("two columns are called `{column}`; rename one")));
            }
            columns.push(column);
        }
        Ok(columns)
    }

    /// A record that has not as many fields as the header.
    fn ragged(&self, line: usize, count: usize, columns: &[String], header: usize) -> crate::Error {
        let mark = char::from(self.separator);
        let why = match columns {
            [first, ..] if first.starts_with('#') => format!(
                "has {count} fields, line {header}, which begins with `#`, has {}; the first line must name \
                 the columns: delete a comment above them",
                columns.len()
            ),
            _ => format!(
                "has {count} fields, the header has {}; put a field that holds `{mark}` in quotes",
                columns.len()
            ),
        };
        self.bad(line, why)
    }

    /// Reads the next line that is not blank and returns its number. One of nothing but separators
    /// is a record.
    fn next_line(&mut self) -> Result<Option<usize>> {
        while self.lines.read()? {
            let blank = |b: &u8| b.is_ascii_whitespace() && *b != self.separator;
            if !self.lines.bytes.iter().all(blank) {
                return Ok(Some(self.lines.line));
            }
        }
        Ok(None)
    }

    /// The first `most` fields of the record that begins with the present line, and how many it
    /// has; reads on where a quoted field has line ends.
    fn fields(&mut self, most: usize) -> Result<(Vec<String>, usize)> {
        let separator = self.separator;
        let (mut fields, mut count, mut at) = (Vec::with_capacity(most.min(64)), 0, 0);
        loop {
            let mut field = Vec::new();
            let line = self.lines.line;
            if self.lines.bytes.get(at) == Some(&b'"') {
                at = self.quoted(at + 1, &mut field)?;
            } else {
                let rest = &self.lines.bytes[at..];
                let ends = |&byte: &u8| byte == separator || byte == b'\n' || byte == b'\r';
                let len = rest.iter().position(ends).unwrap_or(rest.len());
                field.extend_from_slice(&rest[..len]);
                at += len;
            }
            count += 1;
            if count <= most {
                let text = String::from_utf8(field);
                let why = "not UTF-8 (Latin-1 or Windows-1252?); save the file as UTF-8";
                fields.push(text.map_err(|_| self.bad(line, why))?);
            }
            match &self.lines.bytes[at..] {
                [] | [b'\n'] | [b'\r', b'\n'] | [b'\r'] => return Ok((fields, count)),
                [byte, ..] if *byte == separator => at += 1,
                _ => {
                    let why =
                        "has text behind a closing quote; write a quote inside quotes twice (\"\")";
                    return Err(self.bad(self.lines.line, why));
                }
            }
        }
    }

    /// Copies a quoted field from behind its opening quote and returns the place behind the closing
    /// one.
    fn quoted(&mut self, mut at: usize, field: &mut Vec<u8>) -> Result<usize> {
        let opened = self.lines.line;
        loop {
            let rest = &self.lines.bytes[at..];
            let Some(len) = rest.iter().position(|&byte| byte == b'"') else {
                field.extend_from_slice(rest);
                let unclosed = "a quote that opens here is not closed";
                if field.len() > MOST_BYTES {
                    let why = format!("{unclosed} within {} MiB", MOST_BYTES >> 20);
                    return Err(self.bad(opened, why));
                }
                if !self.lines.read()? {
                    return Err(self.bad(opened, format!("{unclosed} until the end of the file")));
                }
                at = 0;
                continue;
            };
            field.extend_from_slice(&rest[..len]);
            at += len + 1;
            if self.lines.bytes.get(at) != Some(&b'"') {
                return Ok(at);
            }
            field.push(b'"');
            at += 1;
        }
    }
}
