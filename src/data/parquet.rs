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
        Error::format(name, at, format!("not valid Parquet ({why})"))
    };
    let reader = SerializedFileReader::new(file).map_err(|e| bad(0, e.to_string()))?;
    for row in reader.get_row_iter(None).map_err(|e| bad(0, e.to_string()))? {
        rows += 1;
        match row.map_err(|e| bad(rows, e.to_string()))?.to_json_value() {
            serde_json::Value::Object(record) => each(rows, record)?,
            _ => return Err(bad(rows, "not a table".into())),
        }
    }
    Ok(rows)
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
