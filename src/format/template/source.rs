//! What a loop or a filter reads elements from.

use super::fault::{Result, raised};
use super::value::{Iter, Machine, Value, View};

pub(super) use super::value::Source;

impl Source {
    /// Python's `iter(value)`.
    pub(super) fn new(value: &Value) -> Result<Source> {
        Ok(match value {
            Value::Undefined(_) => Source::Empty,
            Value::Text(text) | Value::Markup(text) => Source::Characters(text.clone(), 0),
            Value::List(items) | Value::Tuple(items) => Source::Items(items.clone(), 0),
            Value::Dict(dict) => Source::View(View::Keys, dict.clone(), 0),
            Value::View(view, dict) => Source::View(*view, dict.clone(), 0),
            Value::Range(range) => Source::Range(*range, 0),
            Value::Iterator(iter) => Source::Iterator(iter.clone()),
            Value::Loop(_) => return Err(super::fault::beyond("iterating over `loop`")),
            value => return Err(raised(format!("'{}' object is not iterable", value.kind()))),
        })
    }

    /// The next element.
    pub(super) fn next(&mut self, machine: &mut Machine) -> Result<Option<Value>> {
        machine.spend(1)?;
        Ok(match self {
            Source::Empty => None,
            Source::Items(items, at) => {
                *at += 1;
                items.values.get(*at - 1).cloned()
            }
            Source::Characters(text, at) => {
                let c = text[*at..].chars().next();
                *at += c.map_or(0, char::len_utf8);
                c.map(|c| Value::text(c.encode_utf8(&mut [0; 4])))
            }
            Source::View(view, dict, at) => {
                *at += 1;
                match dict.entries.get(*at - 1) {
                    Some(entry) => Some(view.of(entry)?),
                    None => None,
                }
            }
            Source::Range(range, at) => {
                *at += 1;
                range.get(*at - 1)
            }
            Source::Iterator(iter) => return iter.next(machine),
        })
    }

    /// All that is left.
    pub(super) fn all(mut self, machine: &mut Machine) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        while let Some(value) = self.next(machine)? {
            found.push(value);
        }
        Ok(found)
    }
}

impl View {
    pub(super) fn of(self, (key, value): &(Value, Value)) -> Result<Value> {
        match self {
            View::Keys => Ok(key.clone()),
            View::Values => Ok(value.clone()),
            View::Items => Value::tuple(vec![key.clone(), value.clone()]),
        }
    }
}

/// Python's `list(value)`.
pub(super) fn elements(machine: &mut Machine, value: &Value) -> Result<Vec<Value>> {
    match value {
        Value::List(items) | Value::Tuple(items) => {
            machine.spend(items.values.len())?;
            Ok(items.values.clone())
        }
        value => Source::new(value)?.all(machine),
    }
}

/// Python's `len(value)`; `None` if it has none.
pub(super) fn length(value: &Value) -> Option<usize> {
    Some(match value {
        Value::Undefined(_) => 0,
        Value::Text(text) | Value::Markup(text) => text.chars().count(),
        Value::List(items) | Value::Tuple(items) => items.values.len(),
        Value::Dict(dict) | Value::View(_, dict) => dict.entries.len(),
        Value::Range(range) => range.len(),
        _ => return None,
    })
}

/// Python's `reversed(value)`; `None` if it cannot.
pub(super) fn reversed(value: &Value) -> Result<Option<Value>> {
    let kind = match value {
        Value::List(_) => "list_reverseiterator",
        Value::Tuple(_) | Value::Text(_) => "reversed",
        Value::Dict(_) | Value::View(View::Keys, _) => "dict_reversekeyiterator",
        Value::View(View::Values, _) => "dict_reversevalueiterator",
        Value::View(View::Items, _) => "dict_reverseitemiterator",
        Value::Range(_) => "range_iterator",
        _ => return Ok(None),
    };
    let of = value.clone();
    let mut left = length(value).unwrap_or(0);
    let next = move |_: &mut Machine| {
        if left == 0 {
            return Ok(None);
        }
        left -= 1;
        Ok(match &of {
            Value::List(items) | Value::Tuple(items) => items.values.get(left).cloned(),
            Value::Dict(dict) => dict.entries.get(left).map(|(key, _)| key.clone()),
            Value::View(view, dict) => match dict.entries.get(left) {
                Some(entry) => Some(view.of(entry)?),
                None => None,
            },
            Value::Range(range) => range.get(left),
            Value::Text(text) => text.chars().nth(left).map(|c| Value::text(c.to_string())),
            _ => None,
        })
    };
    Iter::value(kind, &[value], next).map(Some)
}

/// Python's `iter` would not fail.
pub(super) fn is_iterable(value: &Value) -> bool {
    matches!(
        value,
        Value::Undefined(_)
            | Value::Text(_)
            | Value::Markup(_)
            | Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::View(..)
            | Value::Range(_)
            | Value::Iterator(_)
            | Value::Loop(_)
    )
}
