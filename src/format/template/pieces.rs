//! Texts cut, replaced and filled up, as Python's methods do it.

use super::args::text_of;
use super::fault::{Result, raised, room};
use super::unicode::{ends_line, is_space};
use super::value::Value;

/// `strip` and its sides; `None` means white space.
pub(super) fn strip(text: &str, name: &str, chars: Option<Value>) -> Result<Value> {
    let chars = match chars {
        None | Some(Value::None) => None,
        chars => Some(text_of(chars, name)?),
    };
    let goes = |c: char| match &chars {
        Some(chars) => chars.contains(c),
        None => is_space(c),
    };
    let mut kept = text;
    if name != "rstrip" {
        kept = kept.trim_start_matches(goes);
    }
    if name != "lstrip" {
        kept = kept.trim_end_matches(goes);
    }
    Ok(Value::text(kept))
}

pub(super) fn split(
    text: &str,
    separator: Option<Value>,
    most: i128,
    from_end: bool,
) -> Result<Value> {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut parts: Vec<&str> = Vec::new();
    match separator {
        None | Some(Value::None) if from_end => {
            let mut rest = text.trim_end_matches(is_space);
            while !rest.is_empty() && parts.len() < most {
                let at = rest.char_indices().rev().find(|(_, c)| is_space(*c));
                let at = at.map_or(0, |(at, c)| at + c.len_utf8());
                parts.push(&rest[at..]);
                rest = rest[..at].trim_end_matches(is_space);
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
            parts.reverse();
        }
        None | Some(Value::None) => {
            let mut rest = text.trim_start_matches(is_space);
            while !rest.is_empty() && parts.len() < most {
                let at = rest.find(is_space).unwrap_or(rest.len());
                parts.push(&rest[..at]);
                rest = rest[at..].trim_start_matches(is_space);
            }
            if !rest.is_empty() {
                parts.push(rest);
            }
        }
        separator => {
            let separator = text_of(separator, "split")?;
            if separator.is_empty() {
                return Err(raised("empty separator"));
            }
            let pieces = most.saturating_add(1);
            match from_end {
                true => {
                    parts = text.rsplitn(pieces, &*separator).collect();
                    parts.reverse();
                }
                false => parts = text.splitn(pieces, &*separator).collect(),
            }
        }
    }
    Value::list(parts.into_iter().map(Value::text).collect())
}

/// `splitlines`, perhaps with the ends.
pub(super) fn lines(text: &str, keep: bool) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let at = rest.find(ends_line).unwrap_or(rest.len());
        let ending = match rest[at..].starts_with("\r\n") {
            true => 2,
            false => rest[at..].chars().next().map_or(0, char::len_utf8),
        };
        found.push(&rest[..if keep { at + ending } else { at }]);
        rest = &rest[at + ending..];
    }
    found
}

/// `replace`, at most `count` times unless it is negative.
pub(super) fn replace(text: &str, old: &str, new: &str, count: i128) -> Result<String> {
    let most = usize::try_from(count).unwrap_or(usize::MAX);
    let times = text.matches(old).count().min(most);
    room(text.len() + times.saturating_mul(new.len()))?;
    Ok(text.replacen(old, new, most))
}

pub(super) fn justified(text: &str, width: i128, fill: char, name: &str) -> Result<String> {
    let length = text.chars().count();
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(length);
    room(missing.saturating_mul(fill.len_utf8()))?;
    let left = match name {
        "ljust" => 0,
        "rjust" => missing,
        // Python gives the odd one to the left where the width is odd, too.
        _ => missing / 2 + (missing & width & 1),
    };
    let fill = |n: usize| fill.to_string().repeat(n);
    Ok([fill(left), text.to_owned(), fill(missing - left)].concat())
}

/// `center` of the filter.
pub(super) fn centered(text: &str, width: i128) -> Result<String> {
    justified(text, width, ' ', "center")
}
