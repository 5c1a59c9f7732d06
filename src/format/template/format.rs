//! `'{}: {:>5.2f}'.format(a, b)`

use super::args::Args;
use super::ast::Name;
use super::fault::{Result, beyond, raised, room};
use super::value::{Machine, Value};
use super::{attributes, number, print};

/// A text with its braces filled in.
pub(super) fn format(machine: &mut Machine, text: &str, args: &Args) -> Result<String> {
    let mut next = Some(0);
    fill(machine, text, args, &mut next, 2)
}

/// `next` is the argument for `{}`; `None` once numbers were written.
fn fill(
    machine: &mut Machine,
    text: &str,
    args: &Args,
    next: &mut Option<usize>,
    depth: usize,
) -> Result<String> {
    if depth == 0 {
        return Err(raised("Max string recursion exceeded"));
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        out.push_str(&rest[..at]);
        let brace = &rest[at..=at];
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix(brace) {
            out.push_str(brace);
            rest = behind;
            continue;
        }
        if brace == "}" {
            return Err(raised("Single '}' encountered in format string"));
        }
        let end = close(rest).ok_or_else(|| raised("expected '}' before end of string"))?;
        let field = &rest[..end];
        rest = &rest[end + 1..];
        // Brackets may hold the signs that would end the name.
        let mut inside = false;
        let split = field.find(|c| {
            inside = (inside || c == '[') && c != ']';
            !inside && matches!(c, '!' | ':')
        });
        let (name, mut tail) = field.split_at(split.unwrap_or(field.len()));
        let value = look_up(machine, name, args, next)?;
        let mut conversion = None;
        if let Some(behind) = tail.strip_prefix('!') {
            conversion = behind.chars().next();
            tail = &behind[conversion.map_or(0, char::len_utf8)..];
            if conversion.is_none() || !(tail.is_empty() || tail.starts_with(':')) {
                return Err(raised("expected ':' after conversion specifier"));
            }
        }
        let spec = tail.strip_prefix(':').unwrap_or("");
        let value = match conversion {
            None => value,
            Some('s') => Value::text(print::text(machine, &value)?),
            Some('r') => Value::text(print::repr(machine, &value)?),
            Some('a') => Value::text(ascii(&print::repr(machine, &value)?)),
            Some(c) => return Err(raised(format!("Unknown conversion specifier {c}"))),
        };
        let spec = fill(machine, spec, args, next, depth - 1)?;
        out.push_str(&formatted(machine, &value, &spec)?);
        room(out.len())?;
    }
    out.push_str(rest);
    Ok(out)
}

/// Where a field's brace closes.
fn close(text: &str) -> Option<usize> {
    let mut deep = 1;
    for (at, c) in text.char_indices() {
        match c {
            '{' => deep += 1,
            '}' => deep -= 1,
            _ => {}
        }
        if deep == 0 {
            return Some(at);
        }
    }
    None
}

/// `0.name[key]`
fn look_up(
    machine: &mut Machine,
    field: &str,
    args: &Args,
    next: &mut Option<usize>,
) -> Result<Value> {
    let end = field.find(['.', '[']).unwrap_or(field.len());
    let (first, mut rest) = field.split_at(end);
    let is_number = first.bytes().all(|b| b.is_ascii_digit());
    let mut value = if first.is_empty() || is_number {
        let at = match (first.parse::<usize>(), *next) {
            (Ok(at), None | Some(0)) => {
                *next = None;
                at
            }
            (Err(_), Some(at)) => {
                *next = Some(at + 1);
                at
            }
            _ => return Err(raised("cannot switch between manual and automatic field numbering")),
        };
        let found = args.positional.get(at).cloned();
        found.ok_or_else(|| raised("Replacement index out of range for positional args tuple"))?
    } else {
        let found = args.keyword.iter().find(|(name, _)| **name == *first);
        found.map(|(_, value)| value.clone()).ok_or_else(|| raised(format!("'{first}'")))?
    };
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            let name: Name = behind[..end].into();
            value = attributes::attribute(machine, &value, &name)?;
            rest = &behind[end..];
        } else if let Some((key, behind)) = rest.strip_prefix('[').and_then(|r| r.split_once(']')) {
            let key = match key.parse() {
                Ok(n) if key.bytes().all(|b| b.is_ascii_digit()) => Value::Int(n),
                _ => Value::text(key),
            };
            value = attributes::item(machine, &value, &key)?;
            rest = behind;
        } else {
            return Err(raised("Only '.' or '[' may follow ']' in format field specifier"));
        }
    }
    Ok(value)
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`
struct Spec {
    fill: char,
    align: Option<char>,
    sign: char,
    alternate: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

fn parse(spec: &str) -> Result<Spec> {
    let chars: Vec<char> = spec.chars().collect();
    let mut at = 0;
    let is_align = |c: Option<&char>| c.is_some_and(|c| matches!(c, '<' | '>' | '=' | '^'));
    let (mut fill, mut align) = (' ', None);
    if is_align(chars.get(1)) {
        (fill, align) = (chars[0], Some(chars[1]));
        at = 2;
    } else if is_align(chars.first()) {
        align = Some(chars[0]);
        at = 1;
    }
    let one_of = |at: &mut usize, wanted: &[char]| {
        let found = chars.get(*at).copied().filter(|c| wanted.contains(c));
        *at += usize::from(found.is_some());
        found
    };
    let sign = one_of(&mut at, &['+', '-', ' ']).unwrap_or('-');
    if one_of(&mut at, &['z']).is_some() {
        return Err(beyond("`z` in a format"));
    }
    let alternate = one_of(&mut at, &['#']).is_some();
    if chars.get(at) == Some(&'0') && align.is_none() {
        (fill, align) = ('0', Some('='));
    }
    let number = |at: &mut usize| -> Result<Option<usize>> {
        let digits: String = chars[*at..].iter().take_while(|c| c.is_ascii_digit()).collect();
        *at += digits.len();
        match digits.is_empty() {
            true => Ok(None),
            false => digits
                .parse()
                .map(Some)
                .map_err(|_| raised("Too many decimal digits in format string")),
        }
    };
    let width = number(&mut at)?.unwrap_or(0);
    let grouping = chars.get(at).copied().filter(|c| matches!(c, ',' | '_'));
    at += usize::from(grouping.is_some());
    let mut precision = None;
    if chars.get(at) == Some(&'.') {
        at += 1;
        precision = number(&mut at)?;
        if precision.is_none() {
            return Err(raised("Format specifier missing precision"));
        }
    }
    let kind = chars.get(at).copied();
    if chars.len() > at + 1 {
        return Err(raised("Invalid format specifier"));
    }
    room(width.max(precision.unwrap_or(0)))?;
    Ok(Spec { fill, align, sign, alternate, width, grouping, precision, kind })
}

/// `format(value, spec)`
fn formatted(machine: &mut Machine, value: &Value, spec: &str) -> Result<String> {
    if spec.is_empty() {
        return print::text(machine, value);
    }
    match value {
        Value::Text(text) => {
            let spec = parse(spec)?;
            if spec.kind.is_some_and(|kind| kind != 's') {
                let kind = spec.kind.unwrap_or('s');
                return Err(raised(format!(
                    "Unknown format code '{kind}' for object of type 'str'"
                )));
            }
            if spec.sign != '-' || spec.alternate || spec.align == Some('=') && spec.fill != '0' {
                return Err(raised("Sign, '#' or '=' not allowed in string format specifier"));
            }
            if spec.grouping.is_some() {
                return Err(raised("Cannot specify ',' with 's'."));
            }
            let kept: String = match spec.precision {
                Some(most) => text.chars().take(most).collect(),
                None => text.to_string(),
            };
            let spec =
                Spec { align: spec.align.filter(|align| *align != '=').or(Some('<')), ..spec };
            Ok(aligned(&spec, "", "", &kept))
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) => numeric(value, &parse(spec)?),
        value => {
            let kind = value.kind();
            Err(raised(format!("unsupported format string passed to {kind}.__format__")))
        }
    }
}

fn numeric(value: &Value, spec: &Spec) -> Result<String> {
    let int = value.as_int();
    let of_float = matches!(spec.kind, Some('e' | 'E' | 'f' | 'F' | 'g' | 'G' | '%'))
        || (int.is_none() && matches!(spec.kind, None | Some('n')));
    if spec.kind == Some('n') {
        return Err(beyond("`n` in a format"));
    }
    let (negative, body, prefix) = match int {
        Some(n) if !of_float => {
            if spec.precision.is_some() {
                return Err(raised("Precision not allowed in integer format specifier"));
            }
            let digits = n.unsigned_abs();
            let (digits, prefix) = match spec.kind {
                None | Some('d') => (digits.to_string(), ""),
                Some('b') => (format!("{digits:b}"), "0b"),
                Some('o') => (format!("{digits:o}"), "0o"),
                Some('x') => (format!("{digits:x}"), "0x"),
                Some('X') => (format!("{digits:X}"), "0X"),
                Some('c') => {
                    let c = u32::try_from(n).ok().and_then(char::from_u32);
                    let c = c.ok_or_else(|| raised("%c arg not in range(0x110000)"))?;
                    let spec = Spec { align: spec.align.or(Some('<')), ..*spec };
                    return Ok(aligned(&spec, "", "", &c.to_string()));
                }
                Some(kind) => {
                    let why = format!("Unknown format code '{kind}' for object of type 'int'");
                    return Err(raised(why));
                }
            };
            if spec.grouping == Some(',') && !matches!(spec.kind, None | Some('d')) {
                return Err(raised("Cannot specify ',' with this format code."));
            }
            (n < 0, digits, if spec.alternate { prefix } else { "" })
        }
        _ => {
            let Some(x) = number::as_float(value) else { return Err(raised("no number")) };
            if spec.alternate {
                return Err(beyond("`#` in the format of a float"));
            }
            let body = match (spec.kind, spec.precision) {
                (Some('%'), precision) => {
                    format!("{}%", float((x * 100.0).abs(), 'f', precision.unwrap_or(6)))
                }
                (Some(kind), precision) if of_float => float(x.abs(), kind, precision.unwrap_or(6)),
                (None, None) => print::float(x.abs()),
                (None, Some(precision)) => general(x.abs(), precision.max(1), true),
                (Some(kind), _) => {
                    let why = format!("Unknown format code '{kind}' for object of type 'float'");
                    return Err(raised(why));
                }
            };
            (x.is_sign_negative() && !x.is_nan(), body, "")
        }
    };
    let sign = match (negative, spec.sign) {
        (true, _) => "-",
        (false, '+') => "+",
        (false, ' ') => " ",
        _ => "",
    };
    Ok(match spec.grouping {
        None => aligned(spec, sign, prefix, &body),
        Some(mark) => {
            let every = if matches!(spec.kind, Some('b' | 'o' | 'x' | 'X')) { 4 } else { 3 };
            let zeros = spec.fill == '0' && spec.align == Some('=');
            let width =
                if zeros { spec.width.saturating_sub(sign.len() + prefix.len()) } else { 0 };
            let body = grouped(&body, mark, every, width);
            aligned(spec, sign, prefix, &body)
        }
    })
}

/// A number's digits in groups, with zeros in front up to a width.
fn grouped(body: &str, mark: char, every: usize, width: usize) -> String {
    let end = body.find(|c: char| !c.is_ascii_hexdigit() || c == 'e').unwrap_or(body.len());
    let (digits, tail) = body.split_at(end);
    let mut digits: Vec<char> = digits.chars().rev().collect();
    let mut out: Vec<char> = Vec::new();
    let mut at = 0;
    loop {
        if at == digits.len() {
            if out.len() + tail.len() >= width {
                break;
            }
            digits.push('0');
        }
        if at > 0 && at % every == 0 {
            out.push(mark);
        }
        out.push(digits[at]);
        at += 1;
    }
    out.iter().rev().collect::<String>() + tail
}

fn aligned(spec: &Spec, sign: &str, prefix: &str, body: &str) -> String {
    let length = sign.len() + prefix.len() + body.chars().count();
    let missing = spec.width.saturating_sub(length);
    let fill = |n: usize| spec.fill.to_string().repeat(n);
    match spec.align.unwrap_or('>') {
        '<' => format!("{sign}{prefix}{body}{}", fill(missing)),
        '^' => format!("{}{sign}{prefix}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
        '=' => format!("{sign}{prefix}{}{body}", fill(missing)),
        _ => format!("{}{sign}{prefix}{body}", fill(missing)),
    }
}

/// A float that is not negative, by `e`, `f` or `g`.
pub(super) fn float(x: f64, kind: char, precision: usize) -> String {
    let text = match kind {
        _ if !x.is_finite() => print::float(x),
        'f' | 'F' => format!("{x:.precision$}"),
        'e' | 'E' => exponential(x, precision),
        _ => general(x, precision.max(1), false),
    };
    if kind.is_ascii_uppercase() { text.to_uppercase() } else { text }
}

fn exponential(x: f64, precision: usize) -> String {
    let text = format!("{x:.precision$e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// `g`: significant digits without zeros at the end; `keeps_point` as a format without type does.
fn general(x: f64, precision: usize, keeps_point: bool) -> String {
    if !x.is_finite() {
        return print::float(x);
    }
    let text = format!("{x:.*e}", precision - 1);
    let exponent: i32 = text.split_once('e').and_then(|(_, e)| e.parse().ok()).unwrap_or(0);
    let bare = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let precision = i32::try_from(precision).unwrap_or(i32::MAX);
    // Without a type a float shows at least one digit behind its point, and turns to exponents one
    // digit earlier.
    let most = if keeps_point { precision - 1 } else { precision };
    if exponent < -4 || exponent >= most.max(if keeps_point { 0 } else { 1 }) {
        let text = exponential(x, usize::try_from(precision - 1).unwrap_or(0));
        let (digits, tail) = text.split_once('e').unwrap_or((&text, "+00"));
        return format!("{}e{tail}", bare(digits));
    }
    let places = usize::try_from(precision - 1 - exponent).unwrap_or(0);
    let plain = bare(&format!("{x:.places$}"));
    if keeps_point && !plain.contains('.') { format!("{plain}.0") } else { plain }
}

/// The whole part of a float.
pub(super) fn truncated(x: f64) -> Result<i128> {
    if x.is_nan() {
        return Err(raised("cannot convert float NaN to integer"));
    }
    if x.is_infinite() {
        return Err(raised("cannot convert float infinity to integer"));
    }
    match x.abs() < 1e38 {
        true => Ok(x.trunc() as i128),
        false => Err(beyond("whole numbers of more than 127 bits")),
    }
}

/// Python's `ascii`: a representation with escapes for all that is not ASCII.
pub(super) fn ascii(repr: &str) -> String {
    let escape = |c: char| match u32::from(c) {
        0..=0x7f => c.to_string(),
        code @ 0..=0xff => format!("\\x{code:02x}"),
        code @ 0..=0xffff => format!("\\u{code:04x}"),
        code => format!("\\U{code:08x}"),
    };
    repr.chars().map(escape).collect()
}
