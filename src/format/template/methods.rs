//! Methods and parts of values that are no texts.

use super::args::Args;
use super::fault::{Result, beyond, raised};
use super::value::{Dict, Machine, Value, View};
use super::{markup, source, strings};
use std::rc::Rc;

/// Calls a method.
pub(super) fn call(machine: &mut Machine, of: &Value, name: &str, args: Args) -> Result<Value> {
    let bool = |b| Ok(Value::Bool(b));
    match (of, name) {
        (Value::Dict(dict), "get") => {
            let [key, default] = args.positional_only("get", 1)?;
            let key = key.unwrap_or(Value::None);
            key.check_hashable()?;
            let found = dict.get(&key).cloned();
            Ok(found.or(default).unwrap_or(Value::None))
        }
        (Value::Dict(dict), "keys" | "values" | "items") => {
            let [] = args.positional_only(name, 0)?;
            let view = match name {
                "keys" => View::Keys,
                "values" => View::Values,
                _ => View::Items,
            };
            Ok(Value::View(view, dict.clone()))
        }
        (Value::Dict(_) | Value::List(_), "copy") => {
            let [] = args.positional_only(name, 0)?;
            Ok(of.clone())
        }
        (Value::Dict(_) | Value::Function(_), "fromkeys") => {
            let [keys, value] = args.positional_only(name, 1)?;
            let value = value.unwrap_or(Value::None);
            let keys = source::elements(machine, &keys.unwrap_or(Value::None))?;
            Ok(Value::Dict(Rc::new(Dict::new(keys.into_iter().map(|key| (key, value.clone())))?)))
        }
        (Value::List(items) | Value::Tuple(items), "count") => {
            let [value] = args.positional_only(name, 1)?;
            let value = value.unwrap_or(Value::None);
            let count = items.values.iter().filter(|item| item.equals(&value)).count();
            Ok(Value::Int(count as i128))
        }
        (Value::List(items) | Value::Tuple(items), "index") => {
            let [value, start, stop] = args.positional_only(name, 1)?;
            let value = value.unwrap_or(Value::None);
            let length = items.values.len();
            let (start, stop) = super::strings::bounds(start.as_ref(), stop.as_ref(), length)?;
            let places = start..stop.max(start).min(length);
            match places.into_iter().find(|at| items.values[*at].equals(&value)) {
                Some(at) => Ok(Value::Int(at as i128)),
                None => Err(raised(format!("value is not in {}", of.kind()))),
            }
        }
        (Value::Range(range), "count" | "index") => {
            let [value] = args.positional_only(name, 1)?;
            let value = value.unwrap_or(Value::None);
            machine.spend(range.len())?;
            let at = (0..range.len()).find(|i| range.get(*i).is_some_and(|n| n.equals(&value)));
            match (name, at) {
                ("count", at) => Ok(Value::Int(i128::from(at.is_some()))),
                (_, Some(at)) => Ok(Value::Int(at as i128)),
                _ => Err(raised("value is not in range")),
            }
        }
        (Value::Int(_) | Value::Bool(_), "bit_length") => {
            let n = of.as_int().unwrap_or(0).unsigned_abs();
            Ok(Value::Int(i128::from(128 - n.leading_zeros())))
        }
        (Value::Int(_) | Value::Bool(_), "bit_count") => {
            Ok(Value::Int(i128::from(of.as_int().unwrap_or(0).unsigned_abs().count_ones())))
        }
        (Value::Int(_) | Value::Bool(_), "conjugate") => Ok(Value::Int(of.as_int().unwrap_or(0))),
        (Value::Float(_), "conjugate") => Ok(of.clone()),
        (Value::Float(x), "is_integer") => bool(x.is_finite() && x.fract() == 0.0),
        (Value::Loop(state), "cycle") => match args.positional.len() {
            0 => Err(raised("no items for cycling given")),
            n => Ok(args.positional[state.index0.get() % n].clone()),
        },
        (Value::Loop(state), "changed") => {
            let same = |a: &Vec<Value>, b: &Vec<Value>| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
            };
            let before = state.changed.replace(Some(args.positional.clone()));
            bool(!before.is_some_and(|before| same(&before, &args.positional)))
        }
        (Value::Cycler(cycler), "next") => {
            let [] = args.positional_only(name, 0)?;
            let at = cycler.1.get();
            cycler.1.set((at + 1) % cycler.0.values.len().max(1));
            Ok(cycler.0.values.get(at).cloned().unwrap_or(Value::None))
        }
        (Value::Cycler(cycler), "reset") => {
            let [] = args.positional_only(name, 0)?;
            cycler.1.set(0);
            Ok(Value::None)
        }
        (Value::Text(text), name) => strings::call(machine, text, name, args),
        (Value::Markup(text), name) => of_safe_text(machine, text, name, args),
        (of, name) => Err(beyond(format!("`{name}` of a {}", of.kind()))),
    }
}

/// Calls a method of a safe text.
fn of_safe_text(machine: &mut Machine, text: &str, name: &str, mut args: Args) -> Result<Value> {
    match name {
        "format" | "format_map" => return Err(beyond(format!("`{name}` of an escaped text"))),
        "join" => {
            if let [list] = &mut args.positional[..] {
                let items = source::elements(machine, list)?;
                let items = items.iter().map(|item| markup::escape(machine, item));
                *list = Value::list(items.collect::<Result<_>>()?)?;
            }
        }
        // The text that is put in, or what fills up.
        "replace" | "ljust" | "rjust" | "center" => {
            if let Some(value) = args.positional.get_mut(1) {
                *value = markup::escape(machine, value)?;
            }
        }
        _ => {}
    }
    markup::safe(strings::call(machine, text, name, args)?)
}
