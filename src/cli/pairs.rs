//! `NAME=VALUE,NAME=VALUE` on the command line.

use std::fmt::Display;
use std::str::FromStr;

/// One `NAME=VALUE`.
pub(super) fn pair<T: FromStr<Err: Display>>(text: &str) -> Result<(String, T), String> {
    let (name, value) = text.rsplit_once('=').ok_or("should be NAME=VALUE")?;
    let value = value.parse().map_err(|e| format!("{value:?}: {e}"))?;
    Ok((name.to_owned(), value))
}
