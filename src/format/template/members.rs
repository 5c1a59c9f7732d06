//! What values have under names, and which methods.

use super::ast::Name;
use super::fault::{Result, beyond};
use super::value::{Machine, Value, View};

/// All of them.
pub(super) const OF_TEXTS: [&str; 47] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "maketrans",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
];

/// The methods of a value.
pub(super) fn names(of: &Value) -> &'static [&'static str] {
    match of {
        Value::Dict(_) => &["get", "keys", "values", "items", "copy", "fromkeys"],
        Value::List(_) => &["index", "count", "copy"],
        Value::Tuple(_) | Value::Range(_) => &["index", "count"],
        Value::View(View::Keys | View::Items, _) => &["isdisjoint"],
        Value::Int(_) | Value::Bool(_) => &[
            "bit_length",
            "bit_count",
            "conjugate",
            "as_integer_ratio",
            "to_bytes",
            "from_bytes",
            "is_integer",
        ],
        Value::Float(_) => &["is_integer", "conjugate", "hex", "fromhex", "as_integer_ratio"],
        Value::Loop(_) => &["cycle", "changed"],
        Value::Cycler(_) => &["next", "reset"],
        Value::Iterator(iter) if iter.kind == "generator" => &["send", "throw", "close"],
        Value::Function("dict") => &["fromkeys"],
        _ => &[],
    }
}

/// What a value has under a name that is no method.
pub(super) fn part(machine: &mut Machine, of: &Value, name: &Name) -> Result<Option<Value>> {
    let int = |n: usize| Some(Value::Int(n as i128));
    Ok(match (of, &**name) {
        (Value::Loop(state), name) => {
            let index0 = state.index0.get();
            match name {
                "index0" => int(index0),
                "index" => int(index0 + 1),
                "first" => Some(Value::Bool(index0 == 0)),
                "last" => Some(Value::Bool(state.peek(machine)?.is_none())),
                "length" => int(state.length(machine)?),
                "revindex" => int(state.length(machine)? - index0),
                "revindex0" => int(state.length(machine)? - index0 - 1),
                "depth" => int(state.depth0 + 1),
                "depth0" => int(state.depth0),
                "previtem" => Some(match (index0, &*state.before.borrow()) {
                    (1.., Some(value)) => value.clone(),
                    _ => Value::undefined("there is no previous item"),
                }),
                "nextitem" => Some(match state.peek(machine)? {
                    Some(value) => value,
                    None => Value::undefined("there is no next item"),
                }),
                _ => None,
            }
        }
        (Value::Tuple(items), "grouper") if items.is_group => items.values.first().cloned(),
        (Value::Tuple(items), "list") if items.is_group => items.values.get(1).cloned(),
        (Value::Range(range), "start") => Some(Value::Int(range.start)),
        (Value::Range(range), "stop") => Some(Value::Int(range.stop)),
        (Value::Range(range), "step") => Some(Value::Int(range.step)),
        (Value::Int(_) | Value::Bool(_), "real" | "numerator") => of.as_int().map(Value::Int),
        (Value::Int(_) | Value::Bool(_), "imag") => Some(Value::Int(0)),
        (Value::Int(_) | Value::Bool(_), "denominator") => Some(Value::Int(1)),
        (Value::Float(_), "real") => Some(of.clone()),
        (Value::Float(_), "imag") => Some(Value::Float(0.0)),
        (Value::Cycler(cycler), "current") => cycler.0.values.get(cycler.1.get()).cloned(),
        (Value::Joiner(joiner), "sep") => Some(Value::Text(joiner.0.clone())),
        (Value::Joiner(joiner), "used") => Some(Value::Bool(joiner.1.get())),
        (Value::Macro(closure), "name") if !closure.parsed.name.is_empty() => {
            Some(Value::text(&closure.parsed.name))
        }
        (Value::Macro(_), "name") => Some(Value::None),
        (Value::Macro(closure), "arguments") => {
            let names = closure.parsed.parameters.iter().map(Value::text);
            Some(Value::tuple(names.collect())?)
        }
        (Value::Macro(closure), "catch_kwargs") => Some(Value::Bool(closure.parsed.reads_kwargs)),
        (Value::Macro(closure), "catch_varargs") => Some(Value::Bool(closure.parsed.reads_varargs)),
        (Value::Macro(closure), "caller") => Some(Value::Bool(closure.parsed.reads_caller)),
        (Value::Cycler(_), "items" | "pos") | (Value::View(..), "mapping") => {
            return Err(beyond(format!("`{name}` of a {}", of.kind())));
        }
        _ => None,
    })
}
