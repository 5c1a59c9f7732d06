//! Comparisons, as Python makes them.

use std::cmp::Ordering;

use super::ast::Comparison;
use super::fault::{Result, beyond, raised};
use super::number;
use super::source::{Source, is_iterable};
use super::value::{Machine, Value, View};

/// One link of a comparison.
pub(super) fn compare(
    machine: &mut Machine,
    comparison: Comparison,
    a: &Value,
    b: &Value,
) -> Result<bool> {
    Ok(match comparison {
        Comparison::Equal => a.equals(b),
        Comparison::NotEqual => !a.equals(b),
        Comparison::In => contains(machine, b, a)?,
        Comparison::NotIn => !contains(machine, b, a)?,
        Comparison::Less => order(a, b, "<")? == Some(Ordering::Less),
        Comparison::Greater => order(a, b, ">")? == Some(Ordering::Greater),
        Comparison::LessEqual => {
            matches!(order(a, b, "<=")?, Some(Ordering::Less | Ordering::Equal))
        }
        Comparison::GreaterEqual => {
            matches!(order(a, b, ">=")?, Some(Ordering::Greater | Ordering::Equal))
        }
    })
}

/// How two values are ordered; `None` only for a float that is no number.
pub(super) fn order(a: &Value, b: &Value, sign: &str) -> Result<Option<Ordering>> {
    match (a, b) {
        (Value::Undefined(why), _) | (_, Value::Undefined(why)) => Err(raised(&**why)),
        (Value::Text(a) | Value::Markup(a), Value::Text(b) | Value::Markup(b)) => {
            Ok(Some(a.cmp(b)))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            for (a, b) in a.values.iter().zip(&b.values) {
                if !a.equals(b) {
                    return order(a, b, sign);
                }
            }
            Ok(Some(a.values.len().cmp(&b.values.len())))
        }
        (Value::View(..), Value::View(..)) => Err(beyond("the order of dict views")),
        _ if number::are_numbers(a, b) => Ok(number::compare(a, b)),
        _ => {
            let (a, b) = (a.kind(), b.kind());
            Err(raised(format!("'{sign}' not supported between instances of '{a}' and '{b}'")))
        }
    }
}

/// `value in of`
pub(super) fn contains(machine: &mut Machine, of: &Value, value: &Value) -> Result<bool> {
    match of {
        Value::Text(text) | Value::Markup(text) => match value {
            Value::Text(part) | Value::Markup(part) => {
                machine.spend(text.len() / 64)?;
                Ok(text.contains(&**part))
            }
            value => {
                let kind = value.kind();
                Err(raised(format!("'in <string>' requires string as left operand, not {kind}")))
            }
        },
        Value::Dict(dict) | Value::View(View::Keys, dict) => {
            value.check_hashable()?;
            Ok(dict.get(value).is_some())
        }
        Value::Range(range) => match value {
            Value::Int(_) | Value::Bool(_) | Value::Float(_) => {
                machine.spend(range.len())?;
                Ok((0..range.len()).any(|i| range.get(i).is_some_and(|n| n.equals(value))))
            }
            _ => Ok(false),
        },
        of => {
            if !is_iterable(of) {
                return Err(raised(format!("argument of type '{}' is not iterable", of.kind())));
            }
            let mut source = Source::new(of)?;
            while let Some(element) = source.next(machine)? {
                if element.equals(value) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
    }
}
