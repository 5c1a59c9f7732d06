//! Whether the pages of a Parquet file lie within it and are as long as they can be, before the
//! decoder makes room for what their headers say.
//!
//! **Source** Apache Parquet's `PageHeader` (1: type, 2: bytes uncompressed, 3: bytes compressed)
//! in Thrift's compact protocol.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use parquet::basic::Compression;
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ParquetMetaData;

/// A page that is larger once decompressed is not read: writers close pages at 1 MiB, or behind a
/// batch of rows.
const MOST_BYTES: i64 = 256 << 20;

/// A compressed page may hold this much whatever its size.
const SMALL: i64 = 4 << 20;

/// A larger one may be so many times its size: what deflate reaches at best.
const MOST_RATIO: i64 = 1032;

/// Checks every page header of every column.
///
/// **Errors** naming the row group and the column whose pages cannot be as they say.
pub(super) fn check(footer: &ParquetMetaData, file: &mut File) -> Result<()> {
    let end = i64::try_from(file.metadata()?.len()).unwrap_or(i64::MAX);
    for (i, group) in footer.row_groups().iter().enumerate() {
        let bad = |what: &str, why: String| {
            ParquetError::General(format!("row group {i}, column {what}: {why}"))
        };
        if group.num_rows() < 0 || (group.columns().is_empty() && group.num_rows() > 0) {
            return Err(bad("-", format!("{} rows without columns", group.num_rows())));
        }
        for column in group.columns() {
            let name = column.column_path().string();
            let (length, values) = (column.compressed_size(), column.num_values());
            let first = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            if first < 0 || length < 0 || first.checked_add(length).is_none_or(|last| last > end) {
                let why = format!("{length} bytes at {first} of a file of {end} bytes");
                return Err(bad(&name, why));
            }
            if values < group.num_rows() {
                let why = format!("{values} values for {} rows", group.num_rows());
                return Err(bad(&name, why));
            }
            let plain = column.compression() == Compression::UNCOMPRESSED;
            file.seek(SeekFrom::Start(first.unsigned_abs()))?;
            pages(BufReader::new(&mut *file), length, plain).map_err(|why| bad(&name, why))?;
        }
    }
    Ok(())
}

/// Whether the file says that it or columns of it are encrypted: by its last bytes, or by field 8
/// of a footer that can be read (`FileMetaData`'s `encryption_algorithm`).
pub(super) fn encrypted(file: &mut File) -> bool {
    let algorithm = |file: &mut File| -> io::Result<bool> {
        let end = file.seek(SeekFrom::End(-8))?;
        let mut tail = [0; 8];
        file.read_exact(&mut tail)?;
        if tail.ends_with(b"PARE") {
            return Ok(true);
        }
        let length = u32::from_le_bytes([tail[0], tail[1], tail[2], tail[3]]);
        file.seek(SeekFrom::Start(end.checked_sub(length.into()).ok_or(damaged("no footer"))?))?;
        let mut footer = Thrift { source: BufReader::new(file).take(length.into()), depth: 0 };
        let mut last = 0;
        while let Some((id, kind)) = footer.field(last)? {
            if id == 8 {
                return Ok(true);
            }
            last = id;
            footer.skip(kind)?;
        }
        Ok(false)
    };
    algorithm(file).unwrap_or(false)
}

/// Walks over the pages that fill `left` bytes.
fn pages(
    mut source: impl BufRead + Seek,
    mut left: i64,
    plain: bool,
) -> std::result::Result<(), String> {
    while left > 0 {
        let mut header = Thrift { source: (&mut source).take(left.unsigned_abs()), depth: 0 };
        let sizes = header.page_sizes().map_err(|e| format!("a page header cannot be read ({e})"));
        let [full, packed] = sizes?;
        left = i64::try_from(header.source.limit()).unwrap_or(0);
        if full < 0 || packed < 0 || packed > left {
            return Err(format!("a page of {packed} bytes where {left} are left"));
        }
        let most = if plain { packed } else { MOST_BYTES.min(SMALL.max(packed * MOST_RATIO)) };
        if full > most {
            return Err(format!("a page of {full} bytes is said to lie in {packed}"));
        }
        source.seek_relative(packed).map_err(|e| e.to_string())?;
        left -= packed;
    }
    Ok(())
}

/// Reads what it is asked for and passes over the rest.
struct Thrift<R> {
    source: R,
    /// Structures and lists around the present one.
    depth: usize,
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

impl<R: BufRead> Thrift<R> {
    /// Fields 2 and 3 of the structure that begins here; reads to its end.
    fn page_sizes(&mut self) -> io::Result<[i64; 2]> {
        let (mut sizes, mut last) = ([None, None], 0);
        while let Some((id, kind)) = self.field(last)? {
            last = id;
            match (id, kind) {
                (2 | 3, 5) => sizes[usize::from(id == 3)] = Some(self.integer()?),
                _ => self.skip(kind)?,
            }
        }
        match sizes {
            [Some(full), Some(packed)] => Ok([full, packed]),
            _ => Err(damaged("no sizes")),
        }
    }

    /// Number and kind of the next field; `None` at the end of the structure.
    fn field(&mut self, last: i64) -> io::Result<Option<(i64, u8)>> {
        let byte = self.byte()?;
        let (step, kind) = (i64::from(byte >> 4), byte & 15);
        match (step, kind) {
            (_, 0) => Ok(None),
            (0, _) => Ok(Some((self.integer()?, kind))),
            _ => Ok(Some((last.saturating_add(step), kind))),
        }
    }

    fn byte(&mut self) -> io::Result<u8> {
        let mut byte = [0];
        self.source.read_exact(&mut byte)?;
        Ok(byte[0])
    }

    /// Seven bits a byte, low ones first.
    fn varint(&mut self) -> io::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 127) << shift;
            if byte < 128 {
                return Ok(value);
            }
        }
        Err(damaged("a number of more than 64 bits"))
    }

    /// A signed number, its sign in the lowest bit.
    fn integer(&mut self) -> io::Result<i64> {
        let coded = self.varint()?;
        Ok((coded >> 1) as i64 ^ -((coded & 1) as i64))
    }

    fn skip(&mut self, kind: u8) -> io::Result<()> {
        match kind {
            // Truth values lie in the kind.
            1 | 2 => Ok(()),
            3 => self.pass(1),
            4..=6 => self.varint().map(drop),
            7 => self.pass(8),
            8 => {
                let length = self.varint()?;
                self.pass(length)
            }
            9 | 10 => self.skip_list(),
            12 => self.skip_structure(),
            // Maps do not occur in page headers.
            _ => Err(damaged("a field of unknown kind")),
        }
    }

    fn nested(&mut self) -> io::Result<()> {
        self.depth += 1;
        if self.depth > 16 { Err(damaged("too deep")) } else { Ok(()) }
    }

    fn skip_structure(&mut self) -> io::Result<()> {
        self.nested()?;
        let mut last = 0;
        while let Some((id, kind)) = self.field(last)? {
            last = id;
            self.skip(kind)?;
        }
        self.depth -= 1;
        Ok(())
    }

    fn skip_list(&mut self) -> io::Result<()> {
        self.nested()?;
        let byte = self.byte()?;
        let count = if byte >> 4 == 15 { self.varint()? } else { u64::from(byte >> 4) };
        for _ in 0..count {
            match byte & 15 {
                // In a list a truth value is a byte.
                1 | 2 => self.pass(1)?,
                kind => self.skip(kind)?,
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn pass(&mut self, bytes: u64) -> io::Result<()> {
        let passed = io::copy(&mut self.source.by_ref().take(bytes), &mut io::sink())?;
        if passed == bytes { Ok(()) } else { Err(damaged("a value behind the end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A header with these sizes, a nested structure, a list and a text, then `packed` bytes.
    fn page(full: u8, packed: u8) -> Vec<u8> {
        let head =
            [0x15, 0, 0x15, 2 * full, 0x15, 2 * packed, 0x2c, 0x15, 9, 0x18, 2, b'a', b'b', 0];
        let list = [0x19, 0x25, 3, 5, 0];
        [&head[..], &list, &vec![7; usize::from(packed)]].concat()
    }

    fn walk(bytes: Vec<u8>, plain: bool) -> std::result::Result<(), String> {
        let length = bytes.len() as i64;
        pages(Cursor::new(bytes), length, plain)
    }

    #[test]
    fn headers_are_read_to_their_end() {
        assert_eq!(walk([page(5, 5), page(9, 9)].concat(), true), Ok(()));
        assert_eq!(walk([page(60, 5), page(9, 20)].concat(), false), Ok(()));
        let why = walk([page(5, 5), page(60, 9)].concat(), true).unwrap_err();
        assert!(why.contains("60 bytes") && why.contains("in 9"), "{why}");
        let mut cut = [page(5, 5), page(9, 9)].concat();
        cut.truncate(30);
        assert!(walk(cut, true).unwrap_err().contains("page"));
        // 2^30 bytes in 4.
        let bomb = [0x15, 0, 0x15, 0x80, 0x80, 0x80, 0x80, 8, 0x15, 8, 0, 1, 2, 3, 4];
        assert!(walk(bomb.to_vec(), false).unwrap_err().contains("1073741824"));
        assert!(walk(vec![0x1c; 1000], false).unwrap_err().contains("too deep"));
    }
}
