//! `tojson`, which transformers makes of Python's `json.dumps`.

use super::args::Args;
use super::fault::{Result, raised, room};
use super::value::{Machine, Value};
use super::{print, source};

struct Style {
    ascii: bool,
    indent: Option<String>,
    between: String,
    behind_key: String,
    sorted: bool,
}

/// The filter: `value|tojson(ensure_ascii, indent, separators, sort_keys)`.
pub(super) fn to_json(machine: &mut Machine, value: &Value, args: Args) -> Result<Value> {
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [ascii, indent, separators, sorted] = args.named("tojson", names, 0)?;
    let indent = match indent {
        None | Some(Value::None) => None,
        Some(Value::Text(text)) => Some(text.to_string()),
        Some(value) => match value.as_int() {
            Some(n) => {
                let n = usize::try_from(n).unwrap_or(0);
                room(n)?;
                Some(" ".repeat(n))
            }
            None => return Err(raised(format!("can't multiply sequence by '{}'", value.kind()))),
        },
    };
    let (between, behind_key) = match separators {
        None | Some(Value::None) => {
            (if indent.is_some() { "," } else { ", " }.to_owned(), ": ".to_owned())
        }
        Some(pair) => match &source::elements(machine, &pair)?[..] {
            [Value::Text(a), Value::Text(b)] => (a.to_string(), b.to_string()),
            _ => return Err(raised("separators must be two texts")),
        },
    };
    let ascii = ascii.is_some_and(|value| value.truth());
    let sorted = sorted.is_some_and(|value| value.truth());
    let style = Style { ascii, indent, between, behind_key, sorted };
    let mut out = String::new();
    write(machine, value, &style, 0, &mut out)?;
    machine.spend(out.len() / 64)?;
    Ok(Value::text(out))
}

fn line(style: &Style, level: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        out.push_str(&indent.repeat(level));
    }
}

fn write(
    machine: &mut Machine,
    value: &Value,
    style: &Style,
    level: usize,
    out: &mut String,
) -> Result<()> {
    machine.spend(1)?;
    room(out.len())?;
    match value {
        Value::None => out.push_str("null"),
        Value::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Value::Int(n) => out.push_str(&n.to_string()),
        Value::Float(x) => out.push_str(&float(*x)),
        Value::Text(text) | Value::Markup(text) => quoted(text, style.ascii, out),
        Value::List(items) | Value::Tuple(items) if items.values.is_empty() => out.push_str("[]"),
        Value::List(items) | Value::Tuple(items) => {
            out.push('[');
            for (i, item) in items.values.iter().enumerate() {
                out.push_str(if i > 0 { &style.between } else { "" });
                line(style, level + 1, out);
                write(machine, item, style, level + 1, out)?;
            }
            line(style, level, out);
            out.push(']');
        }
        Value::Dict(dict) if dict.entries.is_empty() => out.push_str("{}"),
        Value::Dict(dict) => {
            let mut entries: Vec<&(Value, Value)> = dict.entries.iter().collect();
            if style.sorted {
                let keys = |entry: &&(Value, Value)| entry.0.clone();
                entries = super::order::sorted(entries, keys, false)?;
            }
            out.push('{');
            for (i, (key, value)) in entries.into_iter().enumerate() {
                out.push_str(if i > 0 { &style.between } else { "" });
                line(style, level + 1, out);
                let key = match key {
                    Value::Text(text) | Value::Markup(text) => text.to_string(),
                    Value::None => "null".into(),
                    Value::Bool(b) => b.to_string(),
                    Value::Int(n) => n.to_string(),
                    Value::Float(x) => float(*x),
                    key => {
                        let kind = key.kind();
                        let why = format!("keys must be str, int, float, bool or None, not {kind}");
                        return Err(raised(why));
                    }
                };
                quoted(&key, style.ascii, out);
                out.push_str(&style.behind_key);
                write(machine, value, style, level + 1, out)?;
            }
            line(style, level, out);
            out.push('}');
        }
        value => {
            return Err(raised(format!(
                "Object of type {} is not JSON serializable",
                value.kind()
            )));
        }
    }
    Ok(())
}

fn float(x: f64) -> String {
    match x {
        x if x.is_nan() => "NaN".into(),
        f64::INFINITY => "Infinity".into(),
        f64::NEG_INFINITY => "-Infinity".into(),
        x => print::float(x),
    }
}

fn quoted(text: &str, ascii: bool, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\0'..='\u{1f}' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            '\u{7f}'.. if ascii => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
