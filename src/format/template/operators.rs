//! `+`, `*`, `%` and the like.

use super::ast::Operator;
use super::fault::{Result, beyond, raised, room};
use super::value::{Machine, Value};
use super::{markup, number, percent};

fn sign(operator: Operator) -> &'static str {
    match operator {
        Operator::Add => "+",
        Operator::Sub => "-",
        Operator::Mul => "*",
        Operator::Div => "/",
        Operator::FloorDiv => "//",
        Operator::Mod => "%",
        Operator::Pow => "** or pow()",
    }
}

/// An operation on two values.
pub(super) fn binary(
    machine: &mut Machine,
    operator: Operator,
    a: &Value,
    b: &Value,
) -> Result<Value> {
    if let Some(result) = number::calculate(operator, a, b) {
        return result;
    }
    match (operator, a, b) {
        (Operator::Mod, Value::Text(format), b) => percent::format(machine, format, b),
        (_, Value::Undefined(why), _) | (_, _, Value::Undefined(why)) => Err(raised(&**why)),
        (Operator::Mod, Value::Markup(_), _) => Err(beyond("`%` with escaped texts")),
        (Operator::Add, Value::Markup(x), Value::Text(y) | Value::Markup(y))
        | (Operator::Add, Value::Text(x), Value::Markup(y)) => {
            machine.spend((x.len() + y.len()) / 8)?;
            markup::sum(machine, a, b)
        }
        (Operator::Mul, Value::Markup(text), n) | (Operator::Mul, n, Value::Markup(text))
            if n.as_int().is_some() =>
        {
            markup::safe(binary(machine, operator, &Value::Text(text.clone()), n)?)
        }
        (Operator::Add, Value::Text(a), Value::Text(b)) => {
            machine.spend((a.len() + b.len()) / 64)?;
            joined(a, b)
        }
        (Operator::Add, Value::List(x), Value::List(y))
        | (Operator::Add, Value::Tuple(x), Value::Tuple(y)) => {
            machine.spend(x.values.len() + y.values.len())?;
            let values = [&x.values[..], &y.values[..]].concat();
            match a {
                Value::List(_) => Value::list(values),
                _ => Value::tuple(values),
            }
        }
        (Operator::Mul, Value::Text(text), n) | (Operator::Mul, n, Value::Text(text))
            if n.as_int().is_some() =>
        {
            let times = usize::try_from(n.as_int().unwrap_or(0)).unwrap_or(0);
            room(text.len().saturating_mul(times))?;
            machine.spend(text.len() * times / 64)?;
            Ok(Value::text(text.repeat(times)))
        }
        (Operator::Mul, list @ (Value::List(items) | Value::Tuple(items)), n)
        | (Operator::Mul, n, list @ (Value::List(items) | Value::Tuple(items)))
            if n.as_int().is_some() =>
        {
            let times = usize::try_from(n.as_int().unwrap_or(0)).unwrap_or(0);
            room(items.values.len().saturating_mul(times).saturating_mul(32))?;
            machine.spend(items.values.len() * times)?;
            let all = std::iter::repeat_n(&items.values, times).flatten();
            let values = all.cloned().collect();
            match list {
                Value::List(_) => Value::list(values),
                _ => Value::tuple(values),
            }
        }
        (Operator::Add, Value::Text(_), b) => {
            let kind = b.kind();
            Err(raised(format!("can only concatenate str (not \"{kind}\") to str")))
        }
        (Operator::Sub, Value::View(..), _) => Err(beyond("`-` of dict views")),
        _ => Err(raised(format!(
            "unsupported operand type(s) for {}: '{}' and '{}'",
            sign(operator),
            a.kind(),
            b.kind()
        ))),
    }
}

/// `-value` and `+value`
pub(super) fn signed(value: &Value, negative: bool) -> Result<Value> {
    match value {
        Value::Undefined(why) => Err(raised(&**why)),
        Value::Float(x) => Ok(Value::Float(if negative { -x } else { *x })),
        value => match value.as_int() {
            Some(n) if negative => match n.checked_neg() {
                Some(n) => Ok(Value::Int(n)),
                None => Err(beyond("whole numbers of more than 127 bits")),
            },
            Some(n) => Ok(Value::Int(n)),
            None => {
                let sign = if negative { '-' } else { '+' };
                Err(raised(format!("bad operand type for unary {sign}: '{}'", value.kind())))
            }
        },
    }
}

/// Appends one text to another, within bounds.
pub(super) fn joined(a: &str, b: &str) -> Result<Value> {
    room(a.len() + b.len())?;
    Ok(Value::text([a, b].concat()))
}
