//! Parquet rows, one at a time. Only natively: the browser has no file to seek in.

use std::fs::File;

use super::records::Record;
use crate::{Error, Result};

/// Calls `each(row, record)` for every row, from 1.
///
/// **Errors** [`Error::Format`] naming the row at which the file could not be read on.
#[cfg(not(target_arch = "wasm32"))]
pub(super) fn for_each(
    name: &str,
    file: File,
    mut each: impl FnMut(usize, Record) -> Result<()>,
) -> Result<usize> {
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let mut rows = 0;
    let bad = |rows: usize, why: String| {
        let at = if rows == 0 { "footer".into() } else { format!("row {rows}") };
        let why = why.trim_start_matches("Parquet error: ");
        Error::format(name, at, format!("not valid Parquet ({why}): it is truncated or damaged"))
    };
    let mut pages = file.try_clone().map_err(Error::io(name))?;
    let reader = guarded(|| SerializedFileReader::new(file)).map_err(|e| bad(0, e))?;
    guarded(|| super::parquet_pages::check(reader.metadata(), &mut pages))
        .map_err(|e| bad(0, e))?;
    let mut table = guarded(|| reader.get_row_iter(None)).map_err(|e| bad(0, e))?;
    let mut next = || guarded(|| table.next().map(|row| Ok(row?.to_json_value())).transpose());
    while let Some(row) = next().map_err(|e| bad(rows + 1, e))? {
        rows += 1;
        match row {
            serde_json::Value::Object(record) => each(rows, record)?,
            _ => return Err(bad(rows, "not a table".into())),
        }
    }
    Ok(rows)
}

/// What the decoder answers, or why it did not: some damage makes it panic, which is caught here.
#[cfg(not(target_arch = "wasm32"))]
fn guarded<T>(work: impl FnOnce() -> parquet::errors::Result<T>) -> std::result::Result<T, String> {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    DECODING.set(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    DECODING.set(false);
    match done {
        Ok(result) => result.map_err(|e| e.to_string()),
        Err(_) => Err("the decoder gave up".into()),
    }
}

thread_local! {
    static DECODING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Whether this thread is inside the Parquet decoder, whose panics become errors: a panic hook may stay silent.
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
