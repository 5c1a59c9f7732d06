//! One record of a table or a list of JSON objects.

use serde_json::{Map, Value};

/// One record: column or key → value.
pub type Record = Map<String, Value>;

/// A record longer than this is not one: a missing line end or a broken quote.
pub(in crate::data) const MOST_BYTES: usize = 64 << 20;

/// The key under which bytes that are no text stand in a record, with their number: no row is made
/// of them.
const NO_TEXT: &str = "bytes that are no text";

/// Bytes of a table as a value: the text that they are, or [`no_text`].
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn bytes_value(bytes: &[u8]) -> Value {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => Value::Object(Map::from_iter([(NO_TEXT.to_owned(), bytes.len().into())])),
    }
}

/// How many bytes that are no text stand in a value's place.
pub(crate) fn no_text(value: &Value) -> Option<u64> {
    value.as_object().filter(|map| map.len() == 1)?.get(NO_TEXT)?.as_u64()
}
