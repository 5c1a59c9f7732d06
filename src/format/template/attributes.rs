//! `a.b` and `a['b']`, in jinja2's sandbox: private names and what changes a value are undefined.

use std::rc::Rc;

use super::ast::Name;
use super::fault::{Result, raised};
use super::value::{Machine, Value};
use super::{markup, members};

const CHANGE_LIST: [&str; 8] =
    ["append", "clear", "pop", "reverse", "insert", "sort", "extend", "remove"];
const CHANGE_DICT: [&str; 5] = ["clear", "pop", "popitem", "setdefault", "update"];

/// `of.name`: what Python has under that name, else the element.
pub(super) fn attribute(machine: &mut Machine, of: &Value, name: &Name) -> Result<Value> {
    if let Value::Undefined(why) = of {
        return Err(raised(&**why));
    }
    if let Some(value) = own(machine, of, name)? {
        return Ok(value);
    }
    if let Value::Dict(dict) = of
        && let Some(value) = dict.get_text(name)
    {
        return Ok(value.clone());
    }
    Ok(missing(of, name))
}

/// `of[index]`: the element, else what Python has under that name.
pub(super) fn item(machine: &mut Machine, of: &Value, index: &Value) -> Result<Value> {
    if let Value::Undefined(why) = of {
        return Err(raised(&**why));
    }
    if let Some(value) = element(machine, of, index)? {
        return Ok(value);
    }
    if let Value::Text(name) = index {
        let name: Name = (&**name).into();
        if let Some(value) = own(machine, of, &name)? {
            return Ok(value);
        }
        return Ok(missing(of, &name));
    }
    Ok(Value::undefined(format!("{} object has no such element", of.kind())))
}

fn missing(of: &Value, name: &str) -> Value {
    Value::undefined(format!("'{} object' has no attribute '{name}'", of.kind()))
}

fn element(machine: &mut Machine, of: &Value, index: &Value) -> Result<Option<Value>> {
    let place = |length: usize| {
        let at = index.as_int()?;
        let length = i128::try_from(length).ok()?;
        usize::try_from(if at < 0 { at + length } else { at }).ok()
    };
    Ok(match of {
        Value::Dict(dict) => dict.get(index).cloned(),
        Value::List(items) | Value::Tuple(items) => {
            place(items.values.len()).and_then(|at| items.values.get(at).cloned())
        }
        Value::Range(range) => place(range.len()).and_then(|at| range.get(at)),
        Value::Text(text) if index.as_int().is_some() => {
            machine.spend(text.len() / 64)?;
            let length = text.chars().count();
            let character = place(length).and_then(|at| text.chars().nth(at));
            character.map(|c| Value::text(c.to_string()))
        }
        Value::Markup(text) => match element(machine, &Value::Text(text.clone()), index)? {
            Some(character) => Some(markup::safe(character)?),
            None => None,
        },
        _ => None,
    })
}

/// What a value has under a name itself: a method, a member, a part.
pub(super) fn own(machine: &mut Machine, of: &Value, name: &Name) -> Result<Option<Value>> {
    if let Value::Namespace(at) = of {
        let found = machine.namespaces[*at].iter().find(|(known, _)| known == name);
        return Ok(found.map(|(_, value)| value.clone()));
    }
    if name.starts_with("__") && name.ends_with("__") {
        return Ok(Some(unsafe_name(of, name)));
    }
    let is_method = match of {
        Value::Text(_) | Value::Markup(_) => members::OF_TEXTS.contains(&&**name),
        Value::List(_) if CHANGE_LIST.contains(&&**name) => return Ok(Some(unsafe_name(of, name))),
        Value::Dict(_) if CHANGE_DICT.contains(&&**name) => return Ok(Some(unsafe_name(of, name))),
        of => members::names(of).contains(&&**name),
    };
    if is_method {
        return Ok(Some(Value::Method(Rc::new((of.clone(), name.clone())))));
    }
    members::part(machine, of, name)
}

fn unsafe_name(of: &Value, name: &str) -> Value {
    let kind = of.kind();
    Value::undefined(format!("access to attribute '{name}' of '{kind}' object is unsafe."))
}
