//! jinja2's tests: what follows `is`.
//!
//! **Source** jinja2 3.1 `tests.py`.

use std::rc::Rc;

use super::args::Args;
use super::ast::{Comparison, Operator};
use super::compare::compare;
use super::fault::{Fault, Result, beyond, raised};
use super::filters::names as filter_names;
use super::source::is_iterable;
use super::value::{Machine, Value};
use super::{operators, print, strings};

pub(super) const NAMES: [&str; 39] = [
    "odd",
    "even",
    "divisibleby",
    "defined",
    "undefined",
    "filter",
    "test",
    "none",
    "boolean",
    "false",
    "true",
    "integer",
    "float",
    "lower",
    "upper",
    "string",
    "mapping",
    "number",
    "sequence",
    "iterable",
    "callable",
    "sameas",
    "escaped",
    "in",
    "==",
    "eq",
    "equalto",
    "!=",
    "ne",
    ">",
    "gt",
    "greaterthan",
    "ge",
    ">=",
    "<",
    "lt",
    "lessthan",
    "<=",
    "le",
];

pub(super) fn unknown(name: &str) -> Fault {
    raised(format!("No test named '{name}'."))
}

/// `value is name(args)`
pub(super) fn apply(machine: &mut Machine, name: &str, value: &Value, args: Args) -> Result<Value> {
    machine.descend()?;
    let comparison = match name {
        "==" | "eq" | "equalto" => Some(Comparison::Equal),
        "!=" | "ne" => Some(Comparison::NotEqual),
        ">" | "gt" | "greaterthan" => Some(Comparison::Greater),
        ">=" | "ge" => Some(Comparison::GreaterEqual),
        "<" | "lt" | "lessthan" => Some(Comparison::Less),
        "<=" | "le" => Some(Comparison::LessEqual),
        "in" => Some(Comparison::In),
        _ => None,
    };
    if let Some(comparison) = comparison {
        let [other] = match name {
            "in" => args.named(name, ["seq"], 1)?,
            _ => args.positional_only(name, 1)?,
        };
        let other = other.unwrap_or(Value::None);
        return Ok(Value::Bool(compare(machine, comparison, value, &other)?));
    }
    let holds = match name {
        "divisibleby" => {
            let [by] = args.named(name, ["num"], 1)?;
            remainder(machine, value, &by.unwrap_or(Value::None))?.equals(&Value::Int(0))
        }
        "sameas" => {
            let [other] = args.named(name, ["other"], 1)?;
            same(value, &other.unwrap_or(Value::None))?
        }
        name => {
            let [] = args.named(name, [], 0)?;
            match name {
                "odd" => remainder(machine, value, &Value::Int(2))?.equals(&Value::Int(1)),
                "even" => remainder(machine, value, &Value::Int(2))?.equals(&Value::Int(0)),
                "defined" => !value.is_undefined(),
                "undefined" => value.is_undefined(),
                "filter" | "test" => {
                    value.check_hashable()?;
                    value.as_text().is_some_and(|known| match name {
                        "filter" => filter_names::is_known(known),
                        _ => NAMES.contains(&&**known),
                    })
                }
                "none" => matches!(value, Value::None),
                "boolean" => matches!(value, Value::Bool(_)),
                "true" => matches!(value, Value::Bool(true)),
                "false" => matches!(value, Value::Bool(false)),
                "integer" => matches!(value, Value::Int(_)),
                "float" => matches!(value, Value::Float(_)),
                "number" => matches!(value, Value::Bool(_) | Value::Int(_) | Value::Float(_)),
                "string" => matches!(value, Value::Text(_) | Value::Markup(_)),
                "mapping" => matches!(value, Value::Dict(_)),
                "escaped" => matches!(value, Value::Markup(_)),
                "lower" => strings::has_case(&print::text(machine, value)?, false),
                "upper" => strings::has_case(&print::text(machine, value)?, true),
                "iterable" => is_iterable(value),
                // What has a length and can be subscribed: also what is undefined.
                "sequence" => matches!(
                    value,
                    Value::Undefined(_)
                        | Value::Text(_)
                        | Value::Markup(_)
                        | Value::List(_)
                        | Value::Tuple(_)
                        | Value::Dict(_)
                        | Value::Range(_)
                ),
                "callable" => matches!(
                    value,
                    Value::Undefined(_)
                        | Value::Macro(_)
                        | Value::Function(_)
                        | Value::Method(_)
                        | Value::Loop(_)
                        | Value::Joiner(_)
                ),
                name => return Err(unknown(name)),
            }
        }
    };
    Ok(Value::Bool(holds))
}

fn remainder(machine: &mut Machine, value: &Value, by: &Value) -> Result<Value> {
    operators::binary(machine, Operator::Mod, value, by)
}

/// Whether two values are one object, where that does not depend on how Python keeps them.
fn same(a: &Value, b: &Value) -> Result<bool> {
    Ok(match (a, b) {
        (Value::None, Value::None) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::None | Value::Bool(_), _) | (_, Value::None | Value::Bool(_)) => false,
        (Value::List(a), Value::List(b)) => Rc::ptr_eq(a, b),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (a, b) if a.kind() != b.kind() || !a.equals(b) => false,
        (a, _) => return Err(beyond(format!("whether two of type {} are one object", a.kind()))),
    })
}
