//! jinja2's filters: those of single values; beside them those of sequences.
//!
//! **Source** jinja2 3.1 `filters.py`.

pub(super) mod names;
mod number;
mod sequence;
mod text;

use std::rc::Rc;

use super::args::{Args, whole};
use super::fault::{Result, beyond, raised};
use super::number::as_float;
use super::path::Path;
use super::source::{self, Source};
use super::unicode::{capitalized, is_space, is_word};
use super::value::{Dict, Iter, Machine, Value};
use super::{attributes, json, markup, percent, pieces, print, strings, tests};
use names::{is_known, unknown};
use text::{indent, truncate};

/// `value|name(args)`
pub(super) fn apply(machine: &mut Machine, name: &str, value: Value, args: Args) -> Result<Value> {
    machine.descend()?;
    if let Some(made) = sequence::apply(machine, name, &value, &args) {
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
        "map" => map(&value, args),
        "select" | "reject" | "selectattr" | "rejectattr" => select(name, &value, args),
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
        "int" => number::to_int(&value, args),
        "float" => {
            let [default] = args.named(name, ["default"], 0)?;
            match &value {
                Value::Text(text) | Value::Markup(text) => match number::float_of(text)? {
                    Some(x) => Ok(Value::Float(x)),
                    None => Ok(default.unwrap_or(Value::Float(0.0))),
                },
                Value::Undefined(why) => Err(raised(&**why)),
                value => match as_float(value) {
                    Some(x) => Ok(Value::Float(x)),
                    None => Ok(default.unwrap_or(Value::Float(0.0))),
                },
            }
        }
        "round" => number::round(&value, args),
        "filesizeformat" => {
            let [binary] = args.named(name, ["binary"], 0)?;
            let binary = binary.is_some_and(|binary| binary.truth());
            let bytes = match &value {
                Value::Text(text) => number::float_of(text)?,
                value => as_float(value),
            };
            let bytes = bytes.ok_or_else(|| raised("could not convert string to float"))?;
            made(number::file_size(bytes, binary))
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

fn map(value: &Value, args: Args) -> Result<Value> {
    let (of, mut begun) = (value.clone(), None);
    Iter::value("generator", &[value], move |machine| {
        if begun.is_none() {
            begun = Some(Mapped::new(&of, args.clone())?);
        }
        let Some((source, mapped)) = &mut begun else { return Ok(None) };
        match source.next(machine)? {
            None => Ok(None),
            Some(item) => mapped.apply(machine, item).map(Some),
        }
    })
}

/// What `map` does with each element.
enum Mapped {
    Nothing,
    Attribute(Path, Value),
    Filter(Rc<str>, Args),
}

impl Mapped {
    fn new(of: &Value, args: Args) -> Result<(Source, Mapped)> {
        if !of.truth() {
            return Ok((Source::Empty, Mapped::Nothing));
        }
        let source = Source::new(of)?;
        let has_attribute = args.keyword.iter().any(|(name, _)| **name == *"attribute");
        if args.positional.is_empty() && has_attribute {
            let [attribute, default] = args.named("map", ["attribute", "default"], 1)?;
            let default = default.unwrap_or(Value::None);
            return Ok((source, Mapped::Attribute(Path::new(attribute)?, default)));
        }
        let Some(Value::Text(name)) = args.positional.first().cloned() else {
            return Err(raised("map requires a filter argument"));
        };
        let rest = Args { positional: args.positional[1..].to_vec(), keyword: args.keyword };
        Ok((source, Mapped::Filter(name, rest)))
    }

    fn apply(&self, machine: &mut Machine, item: Value) -> Result<Value> {
        match self {
            Mapped::Nothing => Ok(item),
            Mapped::Attribute(path, default) => path.get_or(machine, item, default),
            Mapped::Filter(name, args) => apply(machine, name, item, args.clone()),
        }
    }
}

fn select(name: &str, value: &Value, args: Args) -> Result<Value> {
    let wanted = name.starts_with("select");
    let by_attribute = name.ends_with("attr");
    let (of, mut begun) = (value.clone(), None);
    Iter::value("generator", &[value], move |machine| {
        if begun.is_none() {
            let source = if of.truth() { Source::new(&of)? } else { Source::Empty };
            let mut positional = args.positional.clone();
            let mut path = Path(Vec::new());
            if by_attribute && of.truth() {
                if positional.is_empty() {
                    return Err(raised("Missing parameter for attribute name"));
                }
                path = Path::new(Some(positional.remove(0)))?;
            }
            let test = match positional.is_empty() {
                true => None,
                false => Some(positional.remove(0)),
            };
            begun = Some((source, path, test, Args { positional, keyword: args.keyword.clone() }));
        }
        let Some((source, path, test, args)) = &mut begun else { return Ok(None) };
        while let Some(item) = source.next(machine)? {
            let looked = path.get(machine, item.clone())?;
            let passes = match test {
                None => looked.truth(),
                Some(Value::Text(test)) => {
                    tests::apply(machine, test, &looked, args.clone())?.truth()
                }
                Some(_) => return Err(raised("No test of that name.")),
            };
            if passes == wanted {
                return Ok(Some(item));
            }
        }
        Ok(None)
    })
}
