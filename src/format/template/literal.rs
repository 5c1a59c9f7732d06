//! Numbers and texts as a template spells them.

use super::fault::{Result, beyond, raised};
use super::token::Token;

/// The number at the beginning of `text`, and its length. Behind a dot (`x.1.5`) there are whole
/// ones only.
pub(super) fn number(text: &str, behind_dot: bool) -> Result<Option<(Token, usize)>> {
    let bytes = text.as_bytes();
    if !bytes.first().is_some_and(u8::is_ascii_digit) {
        return Ok(None);
    }
    let whole = digits(bytes, 0);
    if !behind_dot {
        let mut end = whole;
        let mut float = false;
        if bytes.get(end) == Some(&b'.') && digits(bytes, end + 1) > end + 1 {
            end = digits(bytes, end + 1);
            float = true;
        }
        if matches!(bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
            let exponent = digits(bytes, end + 1 + sign);
            if exponent > end + 1 + sign {
                end = exponent;
                float = true;
            }
        }
        if float {
            let value = text[..end].replace('_', "").parse();
            let value = value.map_err(|_| raised("a number that cannot be read"))?;
            return Ok(Some((Token::Float(value), end)));
        }
    }
    let radix = match (bytes[0], bytes.get(1).map(u8::to_ascii_lowercase)) {
        (b'0', Some(b'x')) => 16,
        (b'0', Some(b'o')) => 8,
        (b'0', Some(b'b')) => 2,
        _ => 10,
    };
    let is_digit = |b: u8| char::from(b).is_digit(radix);
    let (mut end, begin) = if radix == 10 { (0, 0) } else { (2, 2) };
    while let Some(&b) = bytes.get(end) {
        let next = bytes.get(end + 1).copied();
        let joint = b == b'_' && (end > 0) && next.is_some_and(is_digit);
        // `0` is followed by no other digit than itself.
        let zero = radix == 10 && bytes[0] == b'0' && b != b'0' && !joint;
        if !(is_digit(b) || joint) || zero {
            break;
        }
        end += 1;
    }
    if end == begin {
        // `0x` without digits is a zero and a name.
        return Ok(Some((Token::Int(0), 1)));
    }
    let value = i128::from_str_radix(&text[begin..end].replace('_', ""), radix);
    let value = value.map_err(|_| beyond("whole numbers of more than 127 bits"))?;
    Ok(Some((Token::Int(value), end)))
}

/// The end of digits that begin at `from`, with `_` between them.
fn digits(bytes: &[u8], from: usize) -> usize {
    let mut end = from;
    while let Some(b) = bytes.get(end) {
        let joint = *b == b'_' && end > from && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        if !(b.is_ascii_digit() || joint) {
            break;
        }
        end += 1;
    }
    end
}

/// The length of a text in quotes.
pub(super) fn text_length(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// What stands between the quotes with its escapes read, as Python's `unicode-escape` reads them.
pub(super) fn unescape(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let Some(c) = rest.chars().next() else {
            return Err(raised("\\ at end of string"));
        };
        let mut length = c.len_utf8();
        match c {
            '\n' => {}
            '\\' | '\'' | '"' => out.push(c),
            'a' => out.push('\u{7}'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'v' => out.push('\u{b}'),
            '0'..='7' => {
                let is_octal = |c: &char| ('0'..='7').contains(c);
                length = rest.chars().take(3).take_while(is_octal).count();
                out.push(character(&rest[..length], 8)?);
            }
            'x' | 'u' | 'U' => {
                let digits = match c {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let code =
                    rest.get(1..=digits).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()));
                let Some(code) = code else {
                    return Err(raised(format!("truncated \\{c} escape")));
                };
                out.push(character(code, 16)?);
                length += digits;
            }
            'N' => return Err(beyond("characters by name (`\\N{…}`)")),
            // Python writes what is not ASCII as an escape first, whose backslash this one then
            // escapes.
            c if !c.is_ascii() => {
                let code = u32::from(c);
                out.push_str(&match code {
                    0..=0xff => format!("\\x{code:02x}"),
                    0x100..=0xffff => format!("\\u{code:04x}"),
                    _ => format!("\\U{code:08x}"),
                });
            }
            c => out.extend(['\\', c]),
        }
        rest = &rest[length..];
    }
    out.push_str(rest);
    Ok(out)
}

fn character(digits: &str, radix: u32) -> Result<char> {
    let code =
        u32::from_str_radix(digits, radix).map_err(|_| raised("illegal Unicode character"))?;
    match code {
        0xd800..=0xdfff => Err(beyond("halves of surrogate pairs in a text")),
        code => char::from_u32(code).ok_or_else(|| raised("illegal Unicode character")),
    }
}
