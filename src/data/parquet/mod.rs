//! Parquet rows, one at a time. Only natively: the browser has no file to seek in.

#[cfg(not(target_arch = "wasm32"))]
mod pages;
#[cfg(not(target_arch = "wasm32"))]
mod values;

use std::fs::File;

#[cfg(not(target_arch = "wasm32"))]
use parquet::errors::ParquetError;

use super::records::Record;
use crate::{Error, Result};

/// Calls `each(row, record)` for every row, from 1.
///
/// **Errors** [`Error::Format`] naming the row at which the file could not be read on;
/// [`Error::Unsupported`] for what Parquet has and is not read: encryption, LZO, intervals, columns
/// of equal names.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn for_each(
    name: &str,
    file: File,
    mut each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let mut pages_of = file.try_clone().map_err(Error::io(name))?;
    let mut footer_of = file.try_clone().map_err(Error::io(name))?;
    let mut bad = |rows: usize, why: ParquetError| {
        if pages::encrypted(&mut footer_of) {
            let hint = "write it again without encryption".into();
            return Error::Unsupported { what: format!("{name}: encrypted Parquet"), hint };
        }
        failed(name, rows, why)
    };
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(|e| bad(0, e))?;
    let schema = reader.metadata().file_metadata().schema_descr().root_schema_ptr();
    values::check(&schema).map_err(|why| {
        let hint = "write the table again without that".into();
        Error::Unsupported { what: format!("{name}: {why}"), hint }
    })?;
    guarded(|| pages::check(reader.metadata(), &mut pages_of)).map_err(|e| bad(0, e))?;
    let mut table = guarded(|| reader.get_row_iter(None)).map_err(|e| bad(0, e))?;
    let mut rows = 0;
    let mut next =
        || guarded(|| Ok(table.next().transpose()?.map(|row| values::record(row, &schema))));
    while let Some(record) = next().map_err(|e| bad(rows + 1, e))? {
        rows += 1;
        each(rows, record)?;
    }
    Ok(rows)
}

/// What ended the reading in front of a row, or at the footer (0). Only what is damaged is called
/// so.
#[cfg(not(target_arch = "wasm32"))]
fn failed(name: &str, row: usize, why: ParquetError) -> Error {
    let at = if row == 0 { "footer".into() } else { format!("row {row}") };
    let text = why.to_string();
    let codec = text.split_once("Disabled feature at compile time: ").map(|(_, codec)| codec);
    let unknown = match &why {
        ParquetError::NYI(what) => Some(what.as_str()),
        _ => codec,
    };
    match unknown {
        Some(what) => Error::Unsupported {
            what: format!("{name}: {at}: {what}"),
            hint: "write the file again with zstd or snappy".into(),
        },
        None if text.contains("as String. Bytes") => {
            Error::format(name, at, "a column of texts holds bytes that are not UTF-8")
        }
        None => {
            let text = text.trim_start_matches("Parquet error: ");
            let why = format!("not valid Parquet ({text}): it is truncated or damaged");
            Error::format(name, at, why)
        }
    }
}

/// What the decoder answers, or why it did not: some damage makes it panic, which is caught here.
#[cfg(not(target_arch = "wasm32"))]
fn guarded<T>(
    work: impl FnOnce() -> parquet::errors::Result<T>,
) -> std::result::Result<T, ParquetError> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    DECODING.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    DECODING.set(false);
    done.unwrap_or_else(|_| Err(ParquetError::General("the decoder gave up".into())))
}

thread_local! {
    static DECODING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread is inside the Parquet decoder, whose panics become errors: a panic hook may
/// stay silent.
pub fn decoding_parquet() -> bool {
    DECODING.get()
}

/// **Errors** [`Error::Unsupported`] always.
#[cfg(target_arch = "wasm32")]
pub(super) fn for_each(
    name: &str,
    _: File,
    _: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    let hint = "convert it to JSONL or CSV".into();
    Err(Error::Unsupported { what: format!("{name}: Parquet in the browser"), hint })
}
