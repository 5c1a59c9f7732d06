//! `NAME=VALUE,NAME=VALUE` on the command line.

use std::fmt::Display;
use std::str::FromStr;

use serde::ser::{Serialize, SerializeMap, Serializer};

/// One `NAME=VALUE`.
pub(super) fn pair<T: FromStr<Err: Display>>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.rsplit_once('=').ok_or("should be NAME=VALUE")?;
    let value = value.parse().map_err(|e| format!("{value:?}: {e}"))?;
    Ok((name.to_owned(), value))
}

/// As a table, for `run.toml`.
pub(super) fn as_map<T: Serialize, S: Serializer>(
    pairs: &[(String, T)],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}
