//! Python's numbers: comparison and arithmetic.

use std::cmp::Ordering;

use super::ast::Operator;
use super::fault::{Result, beyond, raised};
use super::value::Value;

/// A number of either kind.
#[derive(Clone, Copy)]
enum Number {
    Int(i128),
    Float(f64),
}

fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Float(x) => Some(Number::Float(*x)),
        value => value.as_int().map(Number::Int),
    }
}

/// As a float.
pub(super) fn as_float(value: &Value) -> Option<f64> {
    number(value).map(|number| match number {
        Number::Int(n) => n as f64,
        Number::Float(x) => x,
    })
}

/// `==` of two numbers, without rounding a whole one.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b) == Some(Ordering::Equal)
}

/// The order of two numbers; `None` if one is none, or no number at all.
pub(super) fn compare(a: &Value, b: &Value) -> Option<Ordering> {
    match (number(a)?, number(b)?) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
        (Number::Int(a), Number::Float(b)) => against_float(a, b),
        (Number::Float(a), Number::Int(b)) => against_float(b, a).map(Ordering::reverse),
    }
}

fn against_float(a: i128, b: f64) -> Option<Ordering> {
    if b.is_nan() {
        return None;
    }
    // Both ends are powers of two, which floats hold.
    if b >= i128::MAX as f64 {
        return Some(Ordering::Less);
    }
    if b < i128::MIN as f64 {
        return Some(Ordering::Greater);
    }
    let whole = b.floor();
    Some(a.cmp(&(whole as i128)).then(match b > whole {
        true => Ordering::Less,
        false => Ordering::Equal,
    }))
}

/// Whether `a < b` and the like may be asked at all.
pub(super) fn are_numbers(a: &Value, b: &Value) -> bool {
    number(a).is_some() && number(b).is_some()
}

fn zero() -> super::fault::Fault {
    raised("division by zero")
}

fn large() -> super::fault::Fault {
    beyond("whole numbers of more than 127 bits")
}

/// An operation on two numbers; `None` if one of them is no number.
pub(super) fn calculate(operator: Operator, a: &Value, b: &Value) -> Option<Result<Value>> {
    Some(match (number(a)?, number(b)?) {
        (Number::Int(a), Number::Int(b)) => whole(operator, a, b),
        (Number::Int(a), Number::Float(b)) => float(operator, a as f64, b),
        (Number::Float(a), Number::Int(b)) => float(operator, a, b as f64),
        (Number::Float(a), Number::Float(b)) => float(operator, a, b),
    })
}

fn whole(operator: Operator, a: i128, b: i128) -> Result<Value> {
    let int = |n: Option<i128>| n.map(Value::Int).ok_or_else(large);
    match operator {
        Operator::Add => int(a.checked_add(b)),
        Operator::Sub => int(a.checked_sub(b)),
        Operator::Mul => int(a.checked_mul(b)),
        Operator::Div | Operator::FloorDiv | Operator::Mod if b == 0 => Err(zero()),
        Operator::Div if a.unsigned_abs() > 1 << 53 || b.unsigned_abs() > 1 << 53 => {
            // Python rounds the quotient once, of whole numbers of any length.
            match a.checked_rem(b) {
                Some(0) => Ok(Value::Float((a / b) as f64)),
                _ => Err(beyond("quotients of whole numbers beyond 2^53")),
            }
        }
        Operator::Div => Ok(Value::Float(a as f64 / b as f64)),
        Operator::FloorDiv => int(a.checked_div_euclid(b).and_then(|q| {
            // Euclid's remainder is never negative; Python's has the divisor's sign.
            if b < 0 && a.rem_euclid(b) != 0 { q.checked_sub(1) } else { Some(q) }
        })),
        Operator::Mod => {
            int(a.checked_rem_euclid(b).map(|r| if b < 0 && r != 0 { r + b } else { r }))
        }
        Operator::Pow if b < 0 => float(operator, a as f64, b as f64),
        Operator::Pow => int(u32::try_from(b).ok().and_then(|b| a.checked_pow(b))),
    }
}

fn float(operator: Operator, a: f64, b: f64) -> Result<Value> {
    Ok(Value::Float(match operator {
        Operator::Add => a + b,
        Operator::Sub => a - b,
        Operator::Mul => a * b,
        Operator::Div | Operator::FloorDiv | Operator::Mod if b == 0.0 => return Err(zero()),
        Operator::Div => a / b,
        Operator::FloorDiv | Operator::Mod => {
            // The remainder is exact, the quotient follows from it.
            let mut remainder = a % b;
            let mut quotient = (a - remainder) / b;
            if remainder != 0.0 && (b < 0.0) != (remainder < 0.0) {
                remainder += b;
                quotient -= 1.0;
            } else if remainder == 0.0 {
                remainder = 0f64.copysign(b);
            }
            if operator == Operator::Mod {
                return Ok(Value::Float(remainder));
            }
            match quotient {
                0.0 => 0f64.copysign(a / b),
                q => {
                    let floor = q.floor();
                    if q - floor > 0.5 { floor + 1.0 } else { floor }
                }
            }
        }
        Operator::Pow if a == 0.0 && b < 0.0 => {
            return Err(raised("0.0 cannot be raised to a negative power"));
        }
        Operator::Pow if a < 0.0 && b.fract() != 0.0 => return Err(beyond("complex numbers")),
        Operator::Pow => {
            let power = a.powf(b);
            if power.is_infinite() && a.is_finite() && b.is_finite() {
                return Err(raised("Result too large"));
            }
            power
        }
    }))
}
