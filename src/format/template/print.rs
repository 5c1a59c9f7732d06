//! Values as Python's `str` and `repr` write them.

use super::fault::{Result, beyond};
use super::unicode::is_printable;
use super::value::{Machine, Value, View};

/// `str(value)`.
pub(super) fn text(machine: &Machine, value: &Value) -> Result<String> {
    let mut out = String::new();
    write(machine, value, &mut out)?;
    Ok(out)
}

/// Appends `str(value)`.
pub(super) fn write(machine: &Machine, value: &Value, out: &mut String) -> Result<()> {
    match value {
        Value::Undefined(_) => {}
        Value::Text(text) | Value::Markup(text) => out.push_str(text),
        value => write_repr(machine, value, out)?,
    }
    Ok(())
}

/// `repr(value)`.
pub(super) fn repr(machine: &Machine, value: &Value) -> Result<String> {
    let mut out = String::new();
    write_repr(machine, value, &mut out)?;
    Ok(out)
}

fn write_repr(machine: &Machine, value: &Value, out: &mut String) -> Result<()> {
    match value {
        Value::Undefined(_) => out.push_str("Undefined"),
        Value::None => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Float(x) => out.push_str(&float(*x)),
        Value::Text(text) => write_text_repr(text, out),
        Value::Markup(text) => {
            out.push_str("Markup(");
            write_text_repr(text, out);
            out.push(')');
        }
        Value::List(items) => write_items(machine, &items.values, "[", "]", out)?,
        Value::Tuple(items) => {
            let end = if items.values.len() == 1 { ",)" } else { ")" };
            write_items(machine, &items.values, "(", end, out)?;
        }
        Value::Dict(dict) => {
            out.push('{');
            for (i, (key, value)) in dict.entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_repr(machine, key, out)?;
                out.push_str(": ");
                write_repr(machine, value, out)?;
            }
            out.push('}');
        }
        Value::View(view, dict) => {
            out.push_str(value.kind());
            out.push_str("([");
            for (i, (key, value)) in dict.entries.iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                match view {
                    View::Keys => write_repr(machine, key, out)?,
                    View::Values => write_repr(machine, value, out)?,
                    View::Items => {
                        let pair = [key.clone(), value.clone()];
                        write_items(machine, &pair, "(", ")", out)?;
                    }
                }
            }
            out.push_str("])");
        }
        Value::Range(range) => {
            let (start, stop) = (range.start, range.stop);
            out.push_str(&match range.step {
                1 => format!("range({start}, {stop})"),
                step => format!("range({start}, {stop}, {step})"),
            });
        }
        Value::Macro(closure) => {
            let mut name = String::new();
            write_text_repr(&closure.parsed.name, &mut name);
            out.push_str(&match closure.parsed.name.is_empty() {
                true => "<Macro anonymous>".to_owned(),
                false => format!("<Macro {name}>"),
            });
        }
        Value::Loop(state) => {
            let Some(length) = state.length.get() else {
                return Err(beyond("writing a loop over what is made as it is read"));
            };
            out.push_str(&format!("<LoopContext {}/{length}>", state.index0.get() + 1));
        }
        Value::Namespace(at) => {
            if machine.writing.get() {
                return Err(beyond("writing a namespace inside of a namespace"));
            }
            machine.writing.set(true);
            out.push_str("<Namespace {");
            for (i, (name, value)) in machine.namespaces[*at].iter().enumerate() {
                out.push_str(if i > 0 { ", " } else { "" });
                write_text_repr(name, out);
                out.push_str(": ");
                write_repr(machine, value, out)?;
            }
            out.push_str("}>");
            machine.writing.set(false);
        }
        // Python writes their place in memory.
        Value::Iterator(_)
        | Value::Function(_)
        | Value::Method(_)
        | Value::Cycler(_)
        | Value::Joiner(_) => return Err(beyond(format!("writing a {}", value.kind()))),
    }
    super::fault::room(out.len())
}

fn write_items(
    machine: &Machine,
    items: &[Value],
    begin: &str,
    end: &str,
    out: &mut String,
) -> Result<()> {
    out.push_str(begin);
    for (i, item) in items.iter().enumerate() {
        out.push_str(if i > 0 { ", " } else { "" });
        write_repr(machine, item, out)?;
    }
    out.push_str(end);
    Ok(())
}

/// A text in quotes: single ones, unless it has those and no double ones.
fn write_text_repr(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => out.push_str(&match u32::from(c) {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    out.push(quote);
}

/// The shortest digits that read as the same number; with an exponent from 1e16 on and below 1e-4.
pub(super) fn float(x: f64) -> String {
    if x.is_nan() {
        return "nan".into();
    }
    if x.is_infinite() {
        return if x > 0.0 { "inf" } else { "-inf" }.into();
    }
    let scientific = format!("{x:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if x != 0.0 && !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", exponent.abs());
    }
    let plain = format!("{x}");
    if plain.contains('.') { plain } else { format!("{plain}.0") }
}
