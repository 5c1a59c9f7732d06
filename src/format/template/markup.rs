//! Texts that count as safe (`|safe`, `|escape`): what is put to one is escaped, and what comes of
//! one is safe.
//!
//! **Source** `Markup` of markupsafe 3.

use super::fault::{Result, room};
use super::print;
use super::value::{Machine, Value};

/// The characters of HTML as its entities.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// A value as safe text: escaped unless it is safe already.
pub(super) fn escape(machine: &Machine, value: &Value) -> Result<Value> {
    match value {
        Value::Markup(_) => Ok(value.clone()),
        value => Ok(Value::Markup(escaped(&print::text(machine, value)?).into())),
    }
}

/// A value whose texts are safe: it comes of a safe one.
pub(super) fn safe(value: Value) -> Result<Value> {
    let all = |values: &[Value]| values.iter().cloned().map(safe).collect::<Result<Vec<_>>>();
    match value {
        Value::Text(text) => Ok(Value::Markup(text)),
        Value::List(items) => Value::list(all(&items.values)?),
        Value::Tuple(items) => Value::tuple(all(&items.values)?),
        other => Ok(other),
    }
}

/// The same as an ordinary text, where that is what Python takes it for.
pub(super) fn plain(value: Value) -> Value {
    match value {
        Value::Markup(text) => Value::Text(text),
        other => other,
    }
}

/// `a + b` of two texts of which one is safe at least.
pub(super) fn sum(machine: &Machine, a: &Value, b: &Value) -> Result<Value> {
    let mut out = String::new();
    for value in [a, b] {
        print::write(machine, &escape(machine, value)?, &mut out)?;
        room(out.len())?;
    }
    Ok(Value::Markup(out.into()))
}
