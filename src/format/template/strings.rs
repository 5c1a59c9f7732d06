//! Python's methods of texts.

use super::args::{Args, int_of, text_of};
use super::fault::{Result, beyond, raised, room};
use super::unicode::{
    capitalized, check_case, is_letter, is_number, is_printable, is_space, is_word, titled,
};
use super::value::{Machine, Value};
use super::{format, pieces, print, source};

/// The places that `start` and `stop` mean among `length`.
pub(super) fn bounds(
    start: Option<&Value>,
    stop: Option<&Value>,
    length: usize,
) -> Result<(usize, usize)> {
    let place = |value: Option<&Value>, default: usize| match value {
        None | Some(Value::None) => Ok(default),
        Some(value) => {
            let Some(n) = value.as_int() else {
                return Err(raised(
                    "slice indices must be integers or None or have an __index__ method",
                ));
            };
            let n = if n < 0 { n.saturating_add(length as i128).max(0) } else { n };
            Ok(usize::try_from(n).unwrap_or(usize::MAX))
        }
    };
    // A start behind the end stays there: not even an empty text is found at it.
    Ok((place(start, 0)?, place(stop, length)?.min(length)))
}

/// The part of a text between two of its characters, and where it begins in bytes; `None` behind
/// its end.
fn part<'t>(
    text: &'t str,
    start: Option<&Value>,
    stop: Option<&Value>,
) -> Result<Option<(&'t str, usize)>> {
    let length = text.chars().count();
    let (start, stop) = bounds(start, stop, length)?;
    if start > length || start > stop {
        return Ok(None);
    }
    let byte = |n: usize| text.char_indices().nth(n).map_or(text.len(), |(at, _)| at);
    let from = byte(start);
    Ok(Some((&text[from..byte(stop)], from)))
}

/// Calls a method of `text`.
pub(super) fn call(machine: &mut Machine, text: &str, name: &str, args: Args) -> Result<Value> {
    machine.spend(text.len() / 64)?;
    let made = |text: String| Ok(Value::text(text));
    match name {
        "strip" | "lstrip" | "rstrip" => {
            let [chars] = args.positional_only(name, 0)?;
            pieces::strip(text, name, chars)
        }
        "split" | "rsplit" => {
            let [separator, most] = args.named(name, ["sep", "maxsplit"], 0)?;
            pieces::split(text, separator, int_of(most, -1, name)?, name == "rsplit")
        }
        "splitlines" => {
            let [keep] = args.named(name, ["keepends"], 0)?;
            let keep = keep.is_some_and(|keep| keep.truth());
            Value::list(pieces::lines(text, keep).into_iter().map(Value::text).collect())
        }
        "replace" => {
            let [old, new, count] = args.positional_only(name, 2)?;
            let (old, new) = (text_of(old, name)?, text_of(new, name)?);
            made(pieces::replace(text, &old, &new, int_of(count, -1, name)?)?)
        }
        "startswith" | "endswith" => {
            let [wanted, start, stop] = args.positional_only(name, 1)?;
            let wanted = match wanted {
                Some(Value::Tuple(items)) => {
                    let texts = items.values.iter().map(|value| text_of(Some(value.clone()), name));
                    texts.collect::<Result<Vec<_>>>()?
                }
                other => vec![text_of(other, name)?],
            };
            let Some((part, _)) = part(text, start.as_ref(), stop.as_ref())? else {
                return Ok(Value::Bool(false));
            };
            Ok(Value::Bool(wanted.iter().any(|wanted| match name {
                "startswith" => part.starts_with(&**wanted),
                _ => part.ends_with(&**wanted),
            })))
        }
        "find" | "rfind" | "index" | "rindex" | "count" => {
            let [wanted, start, stop] = args.positional_only(name, 1)?;
            let wanted = text_of(wanted, name)?;
            let within = part(text, start.as_ref(), stop.as_ref())?;
            let found = within.and_then(|(part, from)| match name {
                "count" if wanted.is_empty() => Some(part.chars().count() + 1),
                "count" => Some(part.matches(&*wanted).count()),
                "find" | "index" => part.find(&*wanted).map(|at| text[..from + at].chars().count()),
                _ => part.rfind(&*wanted).map(|at| text[..from + at].chars().count()),
            });
            match found {
                Some(n) => Ok(Value::Int(n as i128)),
                None if name == "count" => Ok(Value::Int(0)),
                None if name.ends_with("index") => Err(raised("substring not found")),
                None => Ok(Value::Int(-1)),
            }
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = args.positional_only(name, 1)?;
            let affix = text_of(affix, name)?;
            let rest = match name {
                "removeprefix" => text.strip_prefix(&*affix),
                _ => text.strip_suffix(&*affix),
            };
            Ok(Value::text(rest.unwrap_or(text)))
        }
        "partition" | "rpartition" => {
            let [separator] = args.positional_only(name, 1)?;
            let separator = text_of(separator, name)?;
            if separator.is_empty() {
                return Err(raised("empty separator"));
            }
            let at =
                if name == "partition" { text.find(&*separator) } else { text.rfind(&*separator) };
            let parts = match at {
                Some(at) => [&text[..at], &separator, &text[at + separator.len()..]],
                None if name == "partition" => [text, "", ""],
                None => ["", "", text],
            };
            Value::tuple(parts.iter().map(Value::text).collect())
        }
        "join" => {
            let [list] = args.positional_only(name, 1)?;
            let mut out = String::new();
            let items = source::elements(machine, &list.unwrap_or(Value::None))?;
            for (i, item) in items.into_iter().enumerate() {
                let (Value::Text(item) | Value::Markup(item)) = item else {
                    let kind = item.kind();
                    return Err(raised(format!(
                        "sequence item {i}: expected str instance, {kind} found"
                    )));
                };
                out.push_str(if i > 0 { text } else { "" });
                out.push_str(&item);
                room(out.len())?;
            }
            made(out)
        }
        "center" | "ljust" | "rjust" => {
            let [width, fill] = args.positional_only(name, 1)?;
            let fill = match fill {
                None => ' ',
                Some(fill) => {
                    let fill = text_of(Some(fill), name)?;
                    let mut chars = fill.chars();
                    match (chars.next(), chars.next()) {
                        (Some(c), None) => c,
                        _ => {
                            return Err(raised(
                                "The fill character must be exactly one character long",
                            ));
                        }
                    }
                }
            };
            made(pieces::justified(text, int_of(width, 0, name)?, fill, name)?)
        }
        "zfill" => {
            let [width] = args.positional_only(name, 1)?;
            let width = usize::try_from(int_of(width, 0, name)?).unwrap_or(0);
            let zeros = width.saturating_sub(text.chars().count());
            room(zeros)?;
            let signed = text.starts_with(['+', '-']);
            let (sign, digits) = text.split_at(usize::from(signed));
            made(format!("{sign}{}{digits}", "0".repeat(zeros)))
        }
        "expandtabs" => {
            let [size] = args.named(name, ["tabsize"], 0)?;
            let size = usize::try_from(int_of(size, 8, name)?).unwrap_or(0);
            let mut out = String::new();
            let mut column = 0;
            for c in text.chars() {
                match c {
                    '\t' => {
                        let spaces = if size == 0 { 0 } else { size - column % size };
                        room(out.len() + spaces)?;
                        out.push_str(&" ".repeat(spaces));
                        column += spaces;
                    }
                    c => {
                        out.push(c);
                        column = if matches!(c, '\n' | '\r') { 0 } else { column + 1 };
                    }
                }
            }
            made(out)
        }
        "format" => made(format::format(machine, text, &args)?),
        "format_map" => {
            let [mapping] = args.positional_only(name, 1)?;
            let Some(Value::Dict(mapping)) = mapping else {
                return Err(beyond("`format_map` with something else than a dict"));
            };
            let named =
                |(key, value): &(Value, Value)| Some(((&**key.as_text()?).into(), value.clone()));
            let keyword = mapping.entries.iter().filter_map(named).collect();
            made(format::format(machine, text, &Args { positional: Vec::new(), keyword })?)
        }
        "encode" | "translate" | "maketrans" => Err(beyond(format!("`{name}` of a text"))),
        name => {
            let [] = args.positional_only(name, 0)?;
            plain(text, name)
        }
    }
}

/// Methods without arguments.
fn plain(text: &str, name: &str) -> Result<Value> {
    let every = |holds: &dyn Fn(char) -> Result<bool>| {
        for c in text.chars() {
            if !holds(c)? {
                return Ok(Value::Bool(false));
            }
        }
        Ok(Value::Bool(!text.is_empty()))
    };
    let made = |text: String| Ok(Value::text(text));
    match name {
        "lower" => made(text.to_lowercase()),
        "upper" => made(text.to_uppercase()),
        "casefold" if text.is_ascii() => made(text.to_ascii_lowercase()),
        "capitalize" => made(capitalized(text)?),
        "swapcase" => {
            check_case(text)?;
            let swap = |c: char| match c.is_uppercase() {
                true => c.to_lowercase().collect::<String>(),
                false => c.to_uppercase().collect(),
            };
            made(text.chars().map(swap).collect())
        }
        "title" => {
            check_case(text)?;
            let mut out = String::new();
            let mut inside = false;
            for c in text.chars() {
                let cased = c.is_lowercase() || c.is_uppercase();
                match inside {
                    true => out.extend(c.to_lowercase()),
                    false => out.push_str(&titled(c)?),
                }
                inside = cased;
            }
            made(out)
        }
        "isspace" => every(&|c| Ok(is_space(c))),
        "isascii" => Ok(Value::Bool(text.is_ascii())),
        "isalpha" => every(&is_letter),
        "isalnum" => every(&is_word),
        "isdecimal" | "isdigit" | "isnumeric" => every(&|c| is_number(c, name)),
        "isprintable" => Ok(Value::Bool(text.chars().all(is_printable))),
        "isidentifier" if text.is_ascii() => {
            let begins = text.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic());
            Ok(Value::Bool(begins && text.chars().all(|c| c == '_' || c.is_ascii_alphanumeric())))
        }
        "islower" | "isupper" => Ok(Value::Bool(has_case(text, name == "isupper"))),
        "istitle" => {
            let (mut inside, mut any) = (false, false);
            for c in text.chars() {
                let (upper, lower) = (c.is_uppercase(), c.is_lowercase());
                if (upper && inside) || (lower && !inside) {
                    return Ok(Value::Bool(false));
                }
                inside = upper || lower;
                any |= inside;
            }
            Ok(Value::Bool(any))
        }
        name => Err(beyond(format!("`{name}` of a text that is not ASCII"))),
    }
}

/// Whether a text has letters of one case and none of the other.
pub(super) fn has_case(text: &str, upper: bool) -> bool {
    let (mut right, mut wrong) = (false, false);
    for c in text.chars() {
        right |= if upper { c.is_uppercase() } else { c.is_lowercase() };
        wrong |= if upper { c.is_lowercase() } else { c.is_uppercase() };
    }
    right && !wrong
}

/// `str(value)` unless it is a text already.
pub(super) fn soft(machine: &Machine, value: &Value) -> Result<std::rc::Rc<str>> {
    match value {
        Value::Text(text) | Value::Markup(text) => Ok(text.clone()),
        value => Ok(print::text(machine, value)?.into()),
    }
}
