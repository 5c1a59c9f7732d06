//! A price as tables write it, in dollars.
//!
//! One of
//! - a plain number, as pandas reads one: `12`, `12.`, `.5`, `007`, `1e3`, `-5`;
//! - the same without an exponent behind or before a mark of the dollar: `$5`, `USD 5`, `US $5`,
//!   `5 $`, `$5 USD`, `-$5`;
//! - either of these with commas between all groups of three digits, the first group not beginning
//!   with 0: `1,299`, `$1,299,000.50`.
//!
//! A comma is never a decimal one and a point always is, so a text that could mean two amounts is
//! refused (`12,50`, `0,999`, `1.234,56`), and so is anything that is no amount of dollars. Digits
//! are ASCII's. `docs/tables.md` says the same to users.

/// The dollars of a text.
///
/// **Errors** what is wrong with it, for a message that names the row.
pub fn dollars(text: &str) -> Result<f64, String> {
    let text = text.trim();
    match amount(text) {
        Some(dollars) if dollars.is_finite() => Ok(dollars),
        _ if text.is_empty() => Err("there is no price".into()),
        _ => Err(format!("`{text}` is no number of dollars{}", reason(text))),
    }
}

fn amount(text: &str) -> Option<f64> {
    let (sign, rest) = signed(text);
    let (code, rest) = match rest.strip_prefix("USD") {
        Some(rest) => (true, rest.trim_start()),
        None => (false, rest),
    };
    let mark = ["$", "US$", "US $"].iter().find_map(|mark| rest.strip_prefix(mark));
    let marked = code || mark.is_some();
    let rest = mark.map_or(rest, str::trim_start);
    let (rest, behind) = match rest.strip_suffix("USD").filter(|_| !code) {
        Some(rest) => (rest.trim_end(), true),
        None => match rest.strip_suffix('$').filter(|_| !marked) {
            Some(rest) => (rest.trim_end(), true),
            None => (rest, false),
        },
    };
    let (inner, rest) = if sign.is_none() { signed(rest) } else { (None, rest) };
    let size = number(rest, marked || behind)?;
    Some(if sign.or(inner) == Some('-') { -size } else { size })
}

/// A sign, and what stands behind it.
fn signed(text: &str) -> (Option<char>, &str) {
    match text.strip_prefix(['+', '-']) {
        Some(rest) => (text.chars().next(), rest),
        None => (None, text),
    }
}

/// A number without a sign; an exponent is part of plain numbers only.
fn number(text: &str, marked: bool) -> Option<f64> {
    let groups = text.contains(',');
    let exponent: &[u8] = if marked || groups { b"" } else { b"eE+-" };
    let known = |b: u8| b.is_ascii_digit() || b".,".contains(&b) || exponent.contains(&b);
    if !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') || !text.bytes().all(known) {
        return None;
    }
    if !groups {
        return text.parse().ok();
    }
    let whole = text.split('.').next().unwrap_or(text);
    let mut parts = whole.split(',');
    let first = parts.next()?;
    let thousands = (1..=3).contains(&first.len())
        && !first.starts_with('0')
        && parts.all(|group| group.len() == 3)
        && !text[whole.len()..].contains(',');
    thousands.then(|| text.replace(',', "").parse().ok())?
}

/// More of why a text is no price, if that can be seen.
fn reason(text: &str) -> &'static str {
    const OTHERS: [&str; 7] = ["EUR", "GBP", "JPY", "CAD", "AUD", "CHF", "INR"];
    let other = |c: char| "€£¥₹₩₽₺₫₪฿¢".contains(c);
    if text.contains(other) || OTHERS.iter().any(|code| text.contains(code)) {
        "; convert other currencies"
    } else if text.contains(',') {
        ": a comma stands between groups of three digits only, as in 1,299.00"
    } else if text.starts_with('(') {
        ": a sign is written as -5"
    } else if text.chars().any(|c| c.is_numeric() && !c.is_ascii_digit()) {
        ": digits are 0 to 9"
    } else if text.contains(char::is_whitespace) {
        ": it has more than one word"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::dollars;

    #[test]
    fn conventions_are_read() {
        for (text, expected) in [
            ("12.5", 12.5),
            (" 7 ", 7.0),
            ("12.", 12.0),
            (".5", 0.5),
            ("00012", 12.0),
            ("12.345", 12.345),
            ("1e2", 100.0),
            ("1.5E+3", 1500.0),
            ("-5", -5.0),
            ("+5", 5.0),
            ("$5", 5.0),
            ("$ 5", 5.0),
            ("5 $", 5.0),
            ("-$5", -5.0),
            ("$-5", -5.0),
            ("$.99", 0.99),
            ("USD 3", 3.0),
            ("USD3.50", 3.5),
            ("3 USD", 3.0),
            ("US $1,234", 1234.0),
            ("US$12", 12.0),
            ("$5.00 USD", 5.0),
            ("USD $12.00", 12.0),
            ("$1,299.00", 1299.0),
            ("1,299", 1299.0),
            ("999,999,999.5", 999_999_999.5),
            ("1,234.", 1234.0),
        ] {
            assert_eq!(dollars(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_no_convention_writes_is_refused() {
        for text in [
            "",
            "$",
            ".",
            "-",
            "USD",
            "cheap",
            "inf",
            "NaN",
            "1e999",
            "0x10",
            "1_000",
            "--5",
            "-$-5",
            "(5)",
            "$(5)",
            "12,50",
            "0,999",
            ",123",
            "1,23,456",
            "1.234,56",
            "1,2345",
            "1234,567",
            "12,",
            "1,,234",
            "0,000",
            "012,345",
            "1,234,56",
            "1,234e3",
            "1.5,000",
            "$0,999",
            "1.2.3",
            "1 234.56",
            "1 234",
            "12 .5",
            "1'234",
            "$$5",
            "$5$",
            "USDUSD 5",
            "USD 5 USD",
            "5 $ USD",
            "$1e3",
            "5€",
            "€5",
            "£5",
            "5 EUR",
            "99¢",
            "usd 5",
            "3 to 4",
            "3-4",
            "5/ea",
            "5 each",
            "١٢",
            "１２",
            "e5",
            "1e",
            "- 5",
            "- 5$",
            "- $5",
            "5+5",
            "5%",
        ] {
            assert!(dollars(text).is_err(), "{text}");
        }
        for (text, part) in [
            ("cheap", "`cheap` is no number"),
            ("12,50", "groups of three"),
            ("5€", "convert"),
            ("(5)", "-5"),
            ("١٢", "digits are 0 to 9"),
            ("1 234.56", "more than one word"),
            ("", "there is no price"),
        ] {
            let why = dollars(text).unwrap_err();
            assert!(why.contains(part), "{part:?} not in {why:?}");
        }
    }
}
