//! Expressions, computed.

use std::rc::Rc;

use super::args::Args;
use super::ast::{Arguments, Expr, Literal, Name};
use super::call::{GLOBALS, call};
use super::compare::compare;
use super::fault::{Result, beyond, raised};
use super::value::{Dict, Machine, Scope, Value};
use super::{attributes, filters, markup, operators, print, source, tests};

/// The value of a name: of the template, of the conversation, or one of jinja2's own.
pub(super) fn lookup(name: &str, scope: &Scope) -> Result<Value> {
    match scope.get(name) {
        Some(Some(value)) => return Ok(value),
        Some(None) => return Ok(Value::undefined(format!("'{name}' is undefined"))),
        None => {}
    }
    match GLOBALS.iter().find(|global| **global == name) {
        Some(global) => Ok(Value::Function(global)),
        None if name == "self" => Err(beyond("`self`")),
        None => Ok(Value::undefined(format!("'{name}' is undefined"))),
    }
}

pub(super) fn eval(machine: &mut Machine, expr: &Expr, scope: &Rc<Scope>) -> Result<Value> {
    machine.descend()?;
    Ok(match expr {
        Expr::Literal(literal) => match literal {
            Literal::None => Value::None,
            Literal::Bool(b) => Value::Bool(*b),
            Literal::Int(n) => Value::Int(*n),
            Literal::Float(x) => Value::Float(*x),
            Literal::Text(text) => Value::text(text),
        },
        Expr::Name(name) => lookup(name, scope)?,
        Expr::Attribute(of, name) => {
            let of = eval(machine, of, scope)?;
            attributes::attribute(machine, &of, name)?
        }
        Expr::Item(of, index) => {
            let of = eval(machine, of, scope)?;
            let index = eval(machine, index, scope)?;
            attributes::item(machine, &of, &index)?
        }
        Expr::Slice(of, parts) => {
            let of = eval(machine, of, scope)?;
            let mut bounds = [None, None, None];
            for (bound, part) in bounds.iter_mut().zip(parts) {
                let Some(part) = part else { continue };
                let value = eval(machine, part, scope)?;
                *bound = match &value {
                    Value::None => None,
                    value => Some(value.as_int().ok_or_else(|| {
                        raised("slice indices must be integers or None or have an __index__ method")
                    })?),
                };
            }
            slice(machine, &of, bounds)?
        }
        Expr::Call(callee, args) => {
            let callee = eval(machine, callee, scope)?;
            let args = arguments(machine, args, scope)?;
            call(machine, &callee, args)?
        }
        Expr::Filter(of, name, args) => {
            let of = eval(machine, of, scope)?;
            let args = arguments(machine, args, scope)?;
            filters::apply(machine, name, of, args)?
        }
        Expr::Test(of, name, args) => {
            let of = eval(machine, of, scope)?;
            let args = arguments(machine, args, scope)?;
            tests::apply(machine, name, &of, args)?
        }
        Expr::Not(of) => Value::Bool(!eval(machine, of, scope)?.truth()),
        Expr::Negative(of) | Expr::Positive(of) => {
            let value = eval(machine, of, scope)?;
            operators::signed(&value, matches!(expr, Expr::Negative(_)))?
        }
        Expr::Binary(operator, a, b) => {
            let a = eval(machine, a, scope)?;
            let b = eval(machine, b, scope)?;
            operators::binary(machine, *operator, &a, &b)?
        }
        Expr::And(a, b) => {
            let a = eval(machine, a, scope)?;
            if a.truth() { eval(machine, b, scope)? } else { a }
        }
        Expr::Or(a, b) => {
            let a = eval(machine, a, scope)?;
            if a.truth() { a } else { eval(machine, b, scope)? }
        }
        Expr::Compare(first, rest) => {
            let mut left = eval(machine, first, scope)?;
            let mut holds = true;
            for (comparison, right) in rest {
                let right = eval(machine, right, scope)?;
                holds = compare(machine, *comparison, &left, &right)?;
                if !holds {
                    break;
                }
                left = right;
            }
            Value::Bool(holds)
        }
        Expr::Concat(parts) => {
            let mut text = String::new();
            for part in parts {
                let value = eval(machine, part, scope)?;
                print::write(machine, &value, &mut text)?;
            }
            machine.spend(text.len() / 64)?;
            Value::text(text)
        }
        Expr::Conditional(condition, value, otherwise) => {
            if eval(machine, condition, scope)?.truth() {
                eval(machine, value, scope)?
            } else if let Some(otherwise) = otherwise {
                eval(machine, otherwise, scope)?
            } else {
                Value::undefined("the inline if-expression evaluated to false and has no `else`")
            }
        }
        Expr::Tuple(items) => Value::tuple(all(machine, items, scope)?)?,
        Expr::List(items) => Value::list(all(machine, items, scope)?)?,
        Expr::Dict(items) => {
            let mut dict = Dict::default();
            for (key, value) in items {
                let key = eval(machine, key, scope)?;
                let value = eval(machine, value, scope)?;
                dict.insert(key, value)?;
            }
            Value::Dict(Rc::new(dict))
        }
    })
}

fn all(machine: &mut Machine, exprs: &[Expr], scope: &Rc<Scope>) -> Result<Vec<Value>> {
    exprs.iter().map(|expr| eval(machine, expr, scope)).collect()
}

/// The arguments of a call, `*` and `**` laid out.
pub(super) fn arguments(
    machine: &mut Machine,
    args: &Arguments,
    scope: &Rc<Scope>,
) -> Result<Args> {
    let mut found =
        Args { positional: all(machine, &args.positional, scope)?, keyword: Vec::new() };
    for (name, expr) in &args.keyword {
        found.keyword.push((name.clone(), eval(machine, expr, scope)?));
    }
    if let Some(list) = &args.list {
        let list = eval(machine, list, scope)?;
        found.positional.extend(source::elements(machine, &list)?);
    }
    if let Some(mapping) = &args.mapping {
        let Value::Dict(mapping) = eval(machine, mapping, scope)? else {
            return Err(raised("argument after ** must be a mapping"));
        };
        for (key, value) in &mapping.entries {
            let Value::Text(key) = key else { return Err(raised("keywords must be strings")) };
            let name: Name = (&**key).into();
            if found.keyword.iter().any(|(known, _)| *known == name) {
                return Err(raised(format!("got multiple values for keyword argument '{name}'")));
            }
            found.keyword.push((name, value.clone()));
        }
    }
    Ok(found)
}

/// `a[b:c:d]`
fn slice(
    machine: &mut Machine,
    of: &Value,
    [start, stop, step]: [Option<i128>; 3],
) -> Result<Value> {
    let length = match of {
        Value::Undefined(why) => return Err(raised(&**why)),
        Value::Text(_) | Value::List(_) | Value::Tuple(_) | Value::Range(_) => source::length(of),
        Value::Markup(text) => {
            let text = Value::Text(text.clone());
            return markup::safe(slice(machine, &text, [start, stop, step])?);
        }
        _ => None,
    };
    let Some(length) = length else {
        let why = match of {
            Value::Dict(_) => "unhashable type: 'slice'".to_owned(),
            of => format!("'{}' object is not subscriptable", of.kind()),
        };
        return Err(raised(why));
    };
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(raised("slice step cannot be zero"));
    }
    machine.spend(length)?;
    let length = length as i128;
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |bound: Option<i128>, default: i128| match bound {
        None => default,
        Some(n) if n < 0 => n.saturating_add(length).clamp(lowest, highest),
        Some(n) => n.clamp(lowest, highest),
    };
    let (first, last) = if step > 0 { (0, length) } else { (length - 1, -1) };
    let (start, stop) = (place(start, first), place(stop, last));
    let chosen = super::value::Range { start, stop, step };
    let at = |i: usize| match chosen.get(i) {
        Some(Value::Int(at)) => usize::try_from(at).ok(),
        _ => None,
    };
    let places = (0..chosen.len()).filter_map(at);
    match of {
        Value::Text(text) if text.is_ascii() && step == 1 => {
            let to = stop.max(start) as usize;
            Ok(Value::text(&text[start as usize..to]))
        }
        Value::Text(text) => {
            let characters: Vec<char> = text.chars().collect();
            let kept: String = places.filter_map(|at| characters.get(at)).collect();
            Ok(Value::text(kept))
        }
        Value::Range(range) => {
            let part = |n: i128| range.start.checked_add(n.checked_mul(range.step)?);
            let step = range.step.checked_mul(step);
            let (Some(start), Some(stop), Some(step)) = (part(start), part(stop), step) else {
                return Err(beyond("whole numbers of more than 127 bits"));
            };
            Ok(Value::Range(super::value::Range { start, stop, step }))
        }
        Value::List(items) | Value::Tuple(items) => {
            let kept = places.filter_map(|at| items.values.get(at).cloned()).collect();
            match of {
                Value::List(_) => Value::list(kept),
                _ => Value::tuple(kept),
            }
        }
        _ => Err(raised(format!("'{}' object is not subscriptable", of.kind()))),
    }
}
