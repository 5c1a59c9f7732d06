//! `'%s: %5.2f' % (a, b)`

use super::fault::{Result, beyond, raised, room};
use super::value::{Machine, Value};
use super::{format, number, print};

/// What stands between `%` and the letter.
#[derive(Default)]
struct Flags {
    left: bool,
    plus: bool,
    space: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

/// Values in the order in which they are asked for.
struct Given<'v> {
    values: &'v [Value],
    at: usize,
}

impl<'v> Given<'v> {
    fn next(&mut self) -> Result<&'v Value> {
        self.at += 1;
        self.values.get(self.at - 1).ok_or_else(|| raised("not enough arguments for format string"))
    }

    fn size(&mut self) -> Result<i128> {
        self.next()?.as_int().ok_or_else(|| raised("* wants int"))
    }
}

/// A text with its `%` filled in from a value, a tuple of values or a mapping.
pub(super) fn format(machine: &mut Machine, text: &str, value: &Value) -> Result<Value> {
    let one = [value.clone()];
    let (values, mapping) = match value {
        Value::Tuple(items) => (&items.values[..], None),
        Value::Dict(dict) => (&one[..], Some(dict)),
        _ => (&one[..], None),
    };
    let mut given = Given { values, at: 0 };
    let mut named = false;
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let mut picked = None;
        if let Some(behind) = rest.strip_prefix('(') {
            let Some(mapping) = mapping else { return Err(raised("format requires a mapping")) };
            let end = close(behind).ok_or_else(|| raised("incomplete format key"))?;
            let key = &behind[..end];
            let found = mapping.get_text(key);
            picked = Some(found.cloned().ok_or_else(|| raised(format!("'{key}'")))?);
            named = true;
            rest = &behind[end + 1..];
        }
        let mut flags = Flags::default();
        loop {
            match rest.as_bytes().first() {
                Some(b'-') => flags.left = true,
                Some(b'+') => flags.plus = true,
                Some(b' ') => flags.space = true,
                Some(b'0') => flags.zero = true,
                Some(b'#') => flags.alternate = true,
                _ => break,
            }
            rest = &rest[1..];
        }
        let (width, after) = size(rest, &mut given)?;
        rest = after;
        if let Some(width) = width {
            flags.left |= width < 0;
            flags.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        }
        if let Some(behind) = rest.strip_prefix('.') {
            let (precision, after) = size(behind, &mut given)?;
            rest = after;
            flags.precision = Some(usize::try_from(precision.unwrap_or(0)).unwrap_or(0));
        }
        room(flags.width.max(flags.precision.unwrap_or(0)))?;
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let Some(kind) = rest.chars().next() else { return Err(raised("incomplete format")) };
        rest = &rest[kind.len_utf8()..];
        if kind == '%' {
            out.push('%');
            continue;
        }
        let value = match picked {
            Some(value) => value,
            None => given.next()?.clone(),
        };
        out.push_str(&one_value(machine, kind, &flags, &value)?);
        room(out.len())?;
    }
    out.push_str(rest);
    if given.at < values.len() && !named && !is_mapping(value) {
        return Err(raised("not all arguments converted during string formatting"));
    }
    Ok(Value::text(out))
}

/// What can be subscribed counts as a mapping here, which need not be used.
fn is_mapping(value: &Value) -> bool {
    matches!(value, Value::List(_) | Value::Range(_) | Value::Dict(_) | Value::Undefined(_))
}

fn close(text: &str) -> Option<usize> {
    let mut deep = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => deep += 1,
            ')' => deep -= 1,
            _ => {}
        }
        if deep == 0 {
            return Some(at);
        }
    }
    None
}

/// A number, or `*` for the next value.
fn size<'t>(text: &'t str, given: &mut Given) -> Result<(Option<i128>, &'t str)> {
    if let Some(rest) = text.strip_prefix('*') {
        return Ok((Some(given.size()?), rest));
    }
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    match text[..end].parse() {
        Ok(n) => Ok((Some(n), &text[end..])),
        Err(_) if end == 0 => Ok((None, text)),
        Err(_) => Err(raised("width too big")),
    }
}

fn one_value(machine: &mut Machine, kind: char, flags: &Flags, value: &Value) -> Result<String> {
    let mut sign = "";
    let mut prefix = "";
    let body = match kind {
        's' | 'r' | 'a' => {
            let text = match kind {
                's' => print::text(machine, value)?,
                'r' => print::repr(machine, value)?,
                _ => format::ascii(&print::repr(machine, value)?),
            };
            match flags.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text,
            }
        }
        'c' => match value {
            Value::Text(text) if text.chars().count() == 1 => text.to_string(),
            value => {
                let code = value.as_int().ok_or_else(|| raised("%c requires int or char"))?;
                let code = u32::try_from(code).ok().and_then(char::from_u32);
                code.ok_or_else(|| raised("%c arg not in range(0x110000)"))?.to_string()
            }
        },
        'd' | 'i' | 'u' | 'x' | 'X' | 'o' => {
            let whole = match (value, value.as_int()) {
                (_, Some(n)) => n,
                (Value::Float(x), _) if matches!(kind, 'd' | 'i' | 'u') => format::truncated(*x)?,
                (value, _) => {
                    let kind_of = value.kind();
                    let why = format!("%{kind} format: a real number is required, not {kind_of}");
                    return Err(raised(why));
                }
            };
            sign = sign_of(whole < 0, flags);
            let n = whole.unsigned_abs();
            let digits = match kind {
                'x' => format!("{n:x}"),
                'X' => format!("{n:X}"),
                'o' => format!("{n:o}"),
                _ => n.to_string(),
            };
            if flags.alternate {
                prefix = match kind {
                    'x' => "0x",
                    'X' => "0X",
                    'o' => "0o",
                    _ => "",
                };
            }
            let zeros = flags.precision.unwrap_or(0).saturating_sub(digits.len());
            format!("{}{digits}", "0".repeat(zeros))
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => {
            if let Value::Undefined(why) = value {
                return Err(raised(&**why));
            }
            let Some(x) = number::as_float(value) else {
                return Err(raised(format!("must be real number, not {}", value.kind())));
            };
            if flags.alternate {
                return Err(beyond("`#` in the format of a float"));
            }
            sign = sign_of(x.is_sign_negative() && !x.is_nan(), flags);
            format::float(x.abs(), kind, flags.precision.unwrap_or(6))
        }
        kind => return Err(raised(format!("unsupported format character '{kind}'"))),
    };
    let length = sign.len() + prefix.len() + body.chars().count();
    let missing = flags.width.saturating_sub(length);
    let numeric = !matches!(kind, 's' | 'r' | 'a' | 'c');
    Ok(match (flags.left, flags.zero && numeric) {
        (true, _) => format!("{sign}{prefix}{body}{}", " ".repeat(missing)),
        (false, true) => format!("{sign}{prefix}{}{body}", "0".repeat(missing)),
        (false, false) => format!("{}{sign}{prefix}{body}", " ".repeat(missing)),
    })
}

fn sign_of(negative: bool, flags: &Flags) -> &'static str {
    match (negative, flags.plus, flags.space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    }
}
