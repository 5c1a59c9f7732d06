//! When two values are equal.

use std::rc::Rc;

use super::number;
use super::value::{Items, Value, View};

impl Value {
    /// Python's `==`.
    pub(super) fn equals(&self, other: &Value) -> bool {
        let all = |a: &Items, b: &Items| {
            let (a, b) = (&a.values, &b.values);
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b))
        };
        match (self, other) {
            (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
            (Value::Text(a) | Value::Markup(a), Value::Text(b) | Value::Markup(b)) => a == b,
            (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => all(a, b),
            (Value::Dict(a), Value::Dict(b)) => {
                let has =
                    |(key, value): &(Value, Value)| b.get(key).is_some_and(|v| v.equals(value));
                a.entries.len() == b.entries.len() && a.entries.iter().all(has)
            }
            (Value::View(View::Keys, a), Value::View(View::Keys, b)) => {
                a.entries.len() == b.entries.len()
                    && a.entries.iter().all(|(key, _)| b.get(key).is_some())
            }
            (Value::Range(a), Value::Range(b)) => {
                a.len() == b.len()
                    && (0..a.len().min(2)).all(|i| match (a.get(i), b.get(i)) {
                        (Some(Value::Int(a)), Some(Value::Int(b))) => a == b,
                        _ => false,
                    })
            }
            (Value::Namespace(a), Value::Namespace(b)) => a == b,
            (Value::Function(a), Value::Function(b)) => a == b,
            (Value::Macro(a), Value::Macro(b)) => Rc::ptr_eq(a, b),
            (Value::Loop(a), Value::Loop(b)) => Rc::ptr_eq(a, b),
            (Value::Iterator(a), Value::Iterator(b)) => Rc::ptr_eq(a, b),
            (Value::Cycler(a), Value::Cycler(b)) => Rc::ptr_eq(a, b),
            (Value::Joiner(a), Value::Joiner(b)) => Rc::ptr_eq(a, b),
            _ => number::equal(self, other),
        }
    }
}
