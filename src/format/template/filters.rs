//! jinja2's filters: those of single values. Those of sequences are in `filters_sequence`.
//!
//! **Source** jinja2 3.1 `filters.py`.

use std::rc::Rc;

use super::call::Args;
use super::fault::{Fault, Result, beyond, raised, room};
use super::machine::Machine;
use super::unicode::{capitalized, is_space, is_word};
use super::value::{Dict, Value};
use super::{
    attributes, filters_number, filters_sequence, json, markup, number, percent, pieces, print,
    source, strings,
};

/// All filters of jinja2; some of them are refused when they are reached.
const NAMES: [&str; 54] = [
    "abs",
    "attr",
    "batch",
    "capitalize",
    "center",
    "count",
    "d",
    "default",
    "dictsort",
    "e",
    "escape",
    "filesizeformat",
    "first",
    "float",
    "forceescape",
    "format",
    "groupby",
    "indent",
    "int",
    "join",
    "last",
    "length",
    "list",
    "lower",
    "items",
    "map",
    "min",
    "max",
    "pprint",
    "random",
    "reject",
    "rejectattr",
    "replace",
    "reverse",
    "round",
    "safe",
    "select",
    "selectattr",
    "slice",
    "sort",
    "string",
    "striptags",
    "sum",
    "title",
    "trim",
    "truncate",
    "unique",
    "upper",
    "urlencode",
    "urlize",
    "wordcount",
    "wordwrap",
    "xmlattr",
    "tojson",
];

pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

pub(super) fn unknown(name: &str) -> Fault {
    raised(format!("No filter named '{name}'."))
}

/// `value|name(args)`
pub(super) fn apply(machine: &mut Machine, name: &str, value: Value, args: Args) -> Result<Value> {
    machine.descend()?;
    if let Some(made) = filters_sequence::apply(machine, name, &value, &args) {
        return made;
    }
    let made = |text: String| Ok(Value::text(text));
    match name {
        "default" | "d" => {
            let [default, boolean] = args.named(name, ["default_value", "boolean"], 0)?;
            let replace =
                value.is_undefined() || (boolean.is_some_and(|b| b.truth()) && !value.truth());
            Ok(if replace { default.unwrap_or_else(|| Value::text("")) } else { value })
        }
        "string" => {
            let [] = args.named(name, [], 0)?;
            match value {
                Value::Text(_) | Value::Markup(_) => Ok(value),
                value => made(print::text(machine, &value)?),
            }
        }
        "tojson" => json::to_json(machine, &value, args),
        "safe" => {
            let [] = args.named(name, [], 0)?;
            Ok(Value::Markup(print::text(machine, &value)?.into()))
        }
        "e" | "escape" | "forceescape" => {
            let [] = args.named(name, [], 0)?;
            match name {
                "forceescape" => markup::escape(machine, &markup::plain(value)),
                _ => markup::escape(machine, &value),
            }
        }
        "format" | "striptags" | "urlencode" if matches!(value, Value::Markup(_)) => {
            Err(beyond(format!("the filter `{name}` on an escaped text")))
        }
        "upper" | "lower" | "capitalize" | "trim" | "center" | "indent"
            if matches!(value, Value::Markup(_)) =>
        {
            markup::safe(apply(machine, name, markup::plain(value), args)?)
        }
        "upper" => {
            let [] = args.named(name, [], 0)?;
            made(strings::soft(machine, &value)?.to_uppercase())
        }
        "lower" => {
            let [] = args.named(name, [], 0)?;
            made(strings::soft(machine, &value)?.to_lowercase())
        }
        "capitalize" => {
            let [] = args.named(name, [], 0)?;
            made(capitalized(&strings::soft(machine, &value)?)?)
        }
        "title" => {
            let [] = args.named(name, [], 0)?;
            let text = strings::soft(machine, &value)?;
            let mut out = String::new();
            // Words begin behind these signs.
            let begins = |c: char| is_space(c) || matches!(c, '-' | '(' | '{' | '[' | '<');
            for word in text.split_inclusive(begins) {
                let end = word.len()
                    - word.chars().next_back().filter(|c| begins(*c)).map_or(0, char::len_utf8);
                out.push_str(&capitalized(&word[..end])?);
                out.push_str(&word[end..]);
            }
            made(out)
        }
        "trim" => {
            let [chars] = args.named(name, ["chars"], 0)?;
            pieces::strip(&strings::soft(machine, &value)?, "strip", chars)
        }
        "center" => {
            let [width] = args.named(name, ["width"], 0)?;
            let width = whole(width, 80)?;
            made(pieces::centered(&strings::soft(machine, &value)?, width)?)
        }
        "replace" => {
            let [old, new, count] = args.named(name, ["old", "new", "count"], 2)?;
            let text = |value: Option<Value>| print::text(machine, &value.unwrap_or(Value::None));
            let (old, new) = (text(old)?, text(new)?);
            let count = match count {
                None | Some(Value::None) => -1,
                count => whole(count, -1)?,
            };
            made(pieces::replace(&print::text(machine, &value)?, &old, &new, count)?)
        }
        "format" => {
            if !args.positional.is_empty() && !args.keyword.is_empty() {
                return Err(raised(
                    "can't handle positional and keyword arguments at the same time",
                ));
            }
            let text = strings::soft(machine, &value)?;
            let given = match args.keyword.is_empty() {
                true => Value::tuple(args.positional)?,
                false => {
                    let pairs =
                        args.keyword.into_iter().map(|(name, value)| (Value::text(name), value));
                    Value::Dict(Rc::new(Dict::new(pairs)?))
                }
            };
            percent::format(machine, &text, &given)
        }
        "indent" => indent(&value, args),
        "truncate" => truncate(&value, args),
        "wordcount" => {
            let [] = args.named(name, [], 0)?;
            let text = strings::soft(machine, &value)?;
            let (mut count, mut inside) = (0, false);
            for c in text.chars() {
                let word = c == '_' || is_word(c)?;
                count += i128::from(word && !inside);
                inside = word;
            }
            Ok(Value::Int(count))
        }
        "abs" => {
            let [] = args.named(name, [], 0)?;
            match &value {
                Value::Float(x) => Ok(Value::Float(x.abs())),
                Value::Undefined(why) => Err(raised(&**why)),
                value => match value.as_int() {
                    Some(n) => Ok(Value::Int(n.saturating_abs())),
                    None => Err(raised(format!("bad operand type for abs(): '{}'", value.kind()))),
                },
            }
        }
        "int" => filters_number::to_int(&value, args),
        "float" => {
            let [default] = args.named(name, ["default"], 0)?;
            match &value {
                Value::Text(text) | Value::Markup(text) => match filters_number::float_of(text)? {
                    Some(x) => Ok(Value::Float(x)),
                    None => Ok(default.unwrap_or(Value::Float(0.0))),
                },
                Value::Undefined(why) => Err(raised(&**why)),
                value => match number::as_float(value) {
                    Some(x) => Ok(Value::Float(x)),
                    None => Ok(default.unwrap_or(Value::Float(0.0))),
                },
            }
        }
        "round" => filters_number::round(&value, args),
        "filesizeformat" => {
            let [binary] = args.named(name, ["binary"], 0)?;
            let binary = binary.is_some_and(|binary| binary.truth());
            let bytes = match &value {
                Value::Text(text) => filters_number::float_of(text)?,
                value => number::as_float(value),
            };
            let bytes = bytes.ok_or_else(|| raised("could not convert string to float"))?;
            made(filters_number::file_size(bytes, binary))
        }
        "attr" => {
            let [attribute] = args.named(name, ["name"], 1)?;
            let Some(Value::Text(attribute)) = attribute else {
                return Err(raised("attribute name must be string"));
            };
            if let Value::Undefined(why) = &value {
                return Err(raised(&**why));
            }
            let found = attributes::own(machine, &value, &(&*attribute).into())?;
            let missing = || {
                Value::undefined(format!(
                    "'{} object' has no attribute '{attribute}'",
                    value.kind()
                ))
            };
            Ok(found.unwrap_or_else(missing))
        }
        "items" => {
            let [] = args.named(name, [], 0)?;
            let of = match &value {
                Value::Undefined(_) | Value::Dict(_) => value.clone(),
                _ => return Err(raised("Can only get item pairs from a mapping.")),
            };
            let mut pairs = match &of {
                Value::Dict(dict) => {
                    source::Source::new(&Value::View(super::value::View::Items, dict.clone()))?
                }
                _ => source::Source::Empty,
            };
            super::value::Iter::value("generator", &[&of], move |machine| pairs.next(machine))
        }
        "urlencode" => {
            let [] = args.named(name, [], 0)?;
            match &value {
                Value::Dict(_) | Value::List(_) | Value::Tuple(_) => {
                    Err(beyond("the filter `urlencode` on something else than a text"))
                }
                value => {
                    let text = print::text(machine, value)?;
                    let keeps = |b: u8| b.is_ascii_alphanumeric() || b"_.-~/".contains(&b);
                    let write = |b: u8| match keeps(b) {
                        true => char::from(b).to_string(),
                        false => format!("%{b:02X}"),
                    };
                    made(text.bytes().map(write).collect())
                }
            }
        }
        name if is_known(name) => Err(beyond(format!("the filter `{name}`"))),
        name => Err(unknown(name)),
    }
}

/// A whole number argument.
pub(super) fn whole(value: Option<Value>, default: i128) -> Result<i128> {
    match value {
        None => Ok(default),
        Some(value) => value.as_int().ok_or_else(|| {
            raised(format!("'{}' object cannot be interpreted as an integer", value.kind()))
        }),
    }
}

fn indent(value: &Value, args: Args) -> Result<Value> {
    let [width, first, blank] = args.named("indent", ["width", "first", "blank"], 0)?;
    let indention = match width {
        Some(Value::Text(text)) => text.to_string(),
        width => {
            let n = usize::try_from(whole(width, 4)?).unwrap_or(0);
            room(n)?;
            " ".repeat(n)
        }
    };
    let holds = |value: Option<Value>| value.is_some_and(|value| value.truth());
    let (first, blank) = (holds(first), holds(blank));
    let Value::Text(text) = value else {
        return Err(match value {
            Value::Undefined(why) => raised(&**why),
            value => {
                raised(format!("unsupported operand type(s) for +=: '{}' and 'str'", value.kind()))
            }
        });
    };
    let text = format!("{text}\n");
    let lines = pieces::lines(&text, false);
    room(text.len() + lines.len().saturating_mul(indention.len()))?;
    let mut out = if first { indention.clone() } else { String::new() };
    for (i, line) in lines.into_iter().enumerate() {
        if i > 0 {
            out.push('\n');
            out.push_str(if blank || !line.is_empty() { &indention } else { "" });
        }
        out.push_str(line);
    }
    Ok(Value::text(out))
}

fn truncate(value: &Value, args: Args) -> Result<Value> {
    let [length, kill, end, leeway] =
        args.named("truncate", ["length", "killwords", "end", "leeway"], 0)?;
    let length = whole(length, 255)?;
    let end = match end {
        None => "...".into(),
        Some(Value::Text(end)) => end,
        Some(other) => {
            return Err(beyond(format!("`truncate` with a {} at the end", other.kind())));
        }
    };
    let leeway = match leeway {
        None | Some(Value::None) => 5,
        leeway => whole(leeway, 5)?,
    };
    let ending = end.chars().count() as i128;
    if length < ending || leeway < 0 {
        return Err(raised(format!("expected length >= {ending}, got {length}")));
    }
    let text = match value {
        Value::Text(text) | Value::Markup(text) => text,
        Value::Undefined(why) if length + leeway < 0 => return Err(raised(&**why)),
        Value::Undefined(_) | Value::List(_) | Value::Tuple(_) | Value::Dict(_)
            if source::length(value).unwrap_or(0) as i128 <= length + leeway =>
        {
            return Ok(value.clone());
        }
        value => {
            return Err(raised(format!("object of type '{}' cannot be truncated", value.kind())));
        }
    };
    if text.chars().count() as i128 <= length + leeway {
        return Ok(value.clone());
    }
    let kept: String = text.chars().take(usize::try_from(length - ending).unwrap_or(0)).collect();
    let kept = match kill.is_some_and(|kill| kill.truth()) {
        true => &*kept,
        false => kept.rsplit_once(' ').map_or(&*kept, |(before, _)| before),
    };
    Ok(match value {
        Value::Markup(_) => Value::Markup(format!("{kept}{}", markup::escaped(&end)).into()),
        _ => Value::text(format!("{kept}{end}")),
    })
}
