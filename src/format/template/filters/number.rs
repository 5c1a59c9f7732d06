//! jinja2's filters that make numbers.
//!
//! **Source** jinja2 3.1 `filters.py`.

use super::super::args::{Args, whole};
use super::super::fault::{Result, beyond, raised};
use super::super::unicode::is_space;
use super::super::value::Value;
use super::super::{format, number};

/// A text as Python's `float` reads it; `None` if it is none.
pub(super) fn float_of(text: &str) -> Result<Option<f64>> {
    let text = text.trim_matches(is_space);
    if !text.is_ascii() {
        return match text.chars().any(char::is_numeric) {
            true => Err(beyond("numbers in digits that are not ASCII")),
            false => Ok(None),
        };
    }
    let lower = text.to_ascii_lowercase();
    let bare = lower.trim_start_matches(['+', '-']);
    if lower.len() - bare.len() > 1 {
        return Ok(None);
    }
    let plain = match bare {
        "inf" | "infinity" | "nan" => lower.clone(),
        _ if bare.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
            let bytes = lower.as_bytes();
            let digit =
                |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
            let joint = |(at, b): (usize, &u8)| {
                *b != b'_' || (digit(at.checked_sub(1)) && digit(Some(at + 1)))
            };
            if !bytes.iter().enumerate().all(joint) {
                return Ok(None);
            }
            lower.replace('_', "")
        }
        _ => return Ok(None),
    };
    Ok(plain.parse().ok())
}

/// A text as Python's `int` reads it in a base; `None` if it is none.
fn int_of(text: &str, base: u32) -> Result<Option<i128>> {
    let text = text.trim_matches(is_space);
    if !text.is_ascii() {
        return match text.chars().any(char::is_numeric) {
            true => Err(beyond("numbers in digits that are not ASCII")),
            false => Ok(None),
        };
    }
    let (negative, digits) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let prefix =
        |mark: &str| lower.strip_prefix(mark).map(|rest| rest.strip_prefix('_').unwrap_or(rest));
    let (digits, base) = match (base, prefix("0x"), prefix("0o"), prefix("0b")) {
        (0 | 16, Some(rest), ..) => (rest, 16),
        (0 | 8, _, Some(rest), _) => (rest, 8),
        (0 | 2, _, _, Some(rest)) => (rest, 2),
        (0, ..) if lower.starts_with('0') && lower.bytes().any(|b| matches!(b, b'1'..=b'9')) => {
            return Ok(None);
        }
        (0, ..) => (&lower[..], 10),
        _ => (&lower[..], base),
    };
    let right = |b: u8| b == b'_' || char::from(b).is_digit(base);
    let joints = digits.starts_with('_') || digits.ends_with('_') || digits.contains("__");
    if digits.is_empty() || joints || !digits.bytes().all(right) {
        return Ok(None);
    }
    match i128::from_str_radix(&digits.replace('_', ""), base) {
        Ok(n) => Ok(Some(if negative { -n } else { n })),
        Err(_) => Err(beyond("whole numbers of more than 127 bits")),
    }
}

pub(super) fn to_int(value: &Value, args: Args) -> Result<Value> {
    let [default, base] = args.named("int", ["default", "base"], 0)?;
    let default = default.unwrap_or(Value::Int(0));
    let base = whole(base, 10)?;
    let truncated = |x: f64| match x.is_finite() {
        true => Ok(Value::Int(format::truncated(x)?)),
        false => Ok(default.clone()),
    };
    match value {
        Value::Text(text) | Value::Markup(text) => {
            let base = u32::try_from(base).ok().filter(|b| *b == 0 || (2..=36).contains(b));
            let whole = match base {
                Some(base) => int_of(text, base)?,
                None => None,
            };
            match whole {
                Some(n) => Ok(Value::Int(n)),
                None => float_of(text)?.map_or(Ok(default.clone()), truncated),
            }
        }
        Value::Float(x) if x.is_infinite() => {
            Err(raised("cannot convert float infinity to integer"))
        }
        Value::Float(x) => truncated(*x),
        Value::Undefined(why) => Err(raised(&**why)),
        value => Ok(value.as_int().map_or(default, Value::Int)),
    }
}

pub(super) fn round(value: &Value, args: Args) -> Result<Value> {
    let [precision, method] = args.named("round", ["precision", "method"], 0)?;
    let method = match &method {
        None => "common",
        Some(Value::Text(method)) => method,
        Some(_) => "",
    };
    if let Value::Undefined(why) = value {
        return Err(raised(&**why));
    }
    match method {
        "common" => {
            // `None` would make a whole number of it.
            if let Some(Value::None) = precision {
                return Err(beyond("`round` with no precision"));
            }
            let places = whole(precision, 0)?;
            match value {
                Value::Float(x) if !x.is_finite() => Ok(value.clone()),
                Value::Float(x) if (0..=300).contains(&places) => {
                    let places = usize::try_from(places).unwrap_or(0);
                    let rounded = format!("{x:.places$}").parse();
                    Ok(Value::Float(rounded.map_err(|_| raised("cannot be rounded"))?))
                }
                Value::Float(_) => Err(beyond("`round` with a negative precision")),
                value => match value.as_int() {
                    Some(n) if places >= 0 => Ok(Value::Int(n)),
                    Some(_) => Err(beyond("`round` with a negative precision")),
                    None => Err(raised(format!(
                        "type {} doesn't define __round__ method",
                        value.kind()
                    ))),
                },
            }
        }
        "ceil" | "floor" => {
            let places = whole(precision, 0)?;
            let places = i32::try_from(places).map_err(|_| raised("too many places"))?;
            let x = number::as_float(value).ok_or_else(|| raised("must be real number"))?;
            let scale = 10f64.powi(places);
            let scaled = x * scale;
            if !scaled.is_finite() {
                return Err(raised("cannot convert float infinity to integer"));
            }
            let whole = if method == "ceil" { scaled.ceil() } else { scaled.floor() };
            Ok(Value::Float(whole / scale))
        }
        _ => Err(raised("method must be common, ceil or floor")),
    }
}

pub(super) fn file_size(bytes: f64, binary: bool) -> String {
    let base: f64 = if binary { 1024.0 } else { 1000.0 };
    let units = match binary {
        true => ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"],
        false => ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"],
    };
    if bytes == 1.0 {
        return "1 Byte".into();
    }
    if bytes < base {
        return format!("{} Bytes", bytes.trunc());
    }
    let mut unit = base;
    for name in units {
        unit *= base;
        if bytes < unit || name.starts_with('Y') {
            return format!("{:.1} {name}", base * bytes / unit);
        }
    }
    String::new()
}
