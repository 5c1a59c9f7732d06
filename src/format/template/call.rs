//! Calls: macros, methods, and the functions that every template has.

use std::cell::Cell;
use std::rc::Rc;

use super::args::Args;
use super::ast::Name;
use super::fault::{Result, beyond, raised};
use super::value::{Dict, Items, Machine, Range, Value};
use super::{methods, source};

/// jinja2's functions and those that transformers adds.
pub(super) const GLOBALS: [&str; 8] =
    ["range", "dict", "lipsum", "cycler", "joiner", "namespace", "raise_exception", "strftime_now"];

/// Elements of the longest `range`, in jinja2's sandbox.
const LONGEST_RANGE: usize = 100_000;

/// Namespaces that a template may make.
const MOST_NAMESPACES: usize = 100_000;

/// Calls a value.
pub(super) fn call(machine: &mut Machine, callee: &Value, args: Args) -> Result<Value> {
    machine.descend()?;
    match callee {
        Value::Undefined(why) => Err(raised(&**why)),
        Value::Method(method) => methods::call(machine, &method.0, &method.1, args),
        Value::Function(name) => function(machine, name, args),
        Value::Macro(_) | Value::Loop(_) => {
            Ok(Value::text((machine.again)(machine, callee, args)?))
        }
        Value::Joiner(joiner) => {
            let [] = args.positional_only("joiner", 0)?;
            Ok(match joiner.1.replace(true) {
                true => Value::Text(joiner.0.clone()),
                false => Value::text(""),
            })
        }
        callee => Err(raised(format!("'{}' object is not callable", callee.kind()))),
    }
}

fn function(machine: &mut Machine, name: &str, args: Args) -> Result<Value> {
    match name {
        "range" => {
            let bounds = args.positional_only::<3>("range", 1)?;
            let mut numbers = [0; 3];
            for (number, bound) in numbers.iter_mut().zip(bounds.iter().flatten()) {
                let Some(n) = bound.as_int() else {
                    let kind = bound.kind();
                    return Err(raised(format!(
                        "'{kind}' object cannot be interpreted as an integer"
                    )));
                };
                *number = n;
            }
            let range = match bounds.iter().flatten().count() {
                1 => Range { start: 0, stop: numbers[0], step: 1 },
                2 => Range { start: numbers[0], stop: numbers[1], step: 1 },
                _ => Range { start: numbers[0], stop: numbers[1], step: numbers[2] },
            };
            if range.step == 0 {
                return Err(raised("range() arg 3 must not be zero"));
            }
            if range.len() > LONGEST_RANGE {
                return Err(raised("Range too big. The sandbox blocks ranges larger than 100000."));
            }
            Ok(Value::Range(range))
        }
        "dict" => Ok(Value::Dict(Rc::new(pairs(machine, "dict", args)?))),
        "namespace" => {
            let dict = pairs(machine, "namespace", args)?;
            if machine.namespaces.len() == MOST_NAMESPACES {
                return Err(beyond(format!("more than {MOST_NAMESPACES} namespaces")));
            }
            let at = machine.namespaces.len();
            machine.namespaces.push(Vec::new());
            for (key, value) in dict.entries {
                let Value::Text(key) = key else {
                    return Err(beyond("namespaces with other keys than texts"));
                };
                machine.set_member(at, &(&*key).into(), value)?;
            }
            Ok(Value::Namespace(at))
        }
        "raise_exception" => {
            let [message] = args.named("raise_exception", ["message"], 1)?;
            let message = message.unwrap_or(Value::None);
            Err(raised(super::print::text(machine, &message)?))
        }
        "strftime_now" => {
            let [format] = args.named("strftime_now", ["format"], 1)?;
            match format {
                Some(Value::Text(format)) => {
                    let text = machine.now.format(&format);
                    let unknown = |code| beyond(format!("`{code}` in a date's format"));
                    Ok(Value::text(text.map_err(unknown)?))
                }
                _ => Err(raised("strftime() argument 1 must be str")),
            }
        }
        "cycler" => {
            if !args.keyword.is_empty() {
                return Err(raised("cycler() takes no keyword arguments"));
            }
            if args.positional.is_empty() {
                return Err(raised("at least one item has to be provided"));
            }
            Ok(Value::Cycler(Rc::new((Items::new(args.positional)?, Cell::new(0)))))
        }
        "joiner" => {
            let [separator] = args.named("joiner", ["sep"], 0)?;
            match separator {
                None => Ok(Value::Joiner(Rc::new((", ".into(), Cell::new(false))))),
                Some(Value::Text(sep)) => Ok(Value::Joiner(Rc::new((sep, Cell::new(false))))),
                Some(other) => Err(beyond(format!("a joiner with a {}", other.kind()))),
            }
        }
        name => Err(beyond(format!("the function `{name}`"))),
    }
}

/// The pairs that `dict` and `namespace` are made of.
fn pairs(machine: &mut Machine, function: &str, args: Args) -> Result<Dict> {
    let Args { positional, keyword } = args;
    if positional.len() > 1 {
        return Err(raised(format!("{function} expected at most 1 argument")));
    }
    let mut dict = Dict::default();
    match positional.first() {
        None => {}
        Some(Value::Dict(first)) => {
            machine.spend(first.entries.len())?;
            dict = Dict::of_distinct(first.entries.clone())?;
        }
        Some(Value::Namespace(_)) => {
            return Err(raised("'TemplateNamespace' object is not iterable"));
        }
        Some(first) => {
            for pair in source::elements(machine, first)? {
                let [key, value] = &source::elements(machine, &pair)?[..] else {
                    return Err(raised("dictionary update sequence element is no pair"));
                };
                dict.insert(key.clone(), value.clone())?;
            }
        }
    }
    for (name, value) in keyword {
        dict.insert(Value::text(name), value)?;
    }
    Ok(dict)
}

impl Machine {
    /// Gives a namespace's member a value.
    pub(super) fn set_member(&mut self, at: usize, name: &Name, value: Value) -> Result<()> {
        if name.starts_with('_') {
            return Err(raised(format!(
                "Chat templates cannot store underscore-prefixed attributes on a namespace, but got '{name}'."
            )));
        }
        let members = &mut self.namespaces[at];
        match members.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = value,
            None => members.push((name.clone(), value)),
        }
        Ok(())
    }
}
