//! The course's parser: a price from what the model wrote.

/// The first number in a text: `$` and `,` are dropped, then the first match of
/// `[-+]?\d*\.\d+|\d+` is taken, else 0.
///
/// So `$1,299.00` is 1299, `-5` is 5 (the sign belongs to numbers with a point only), `-5.5` is
/// -5.5, `1e9` is 1, and `no idea` is 0. Digits are ASCII's. **Source** `post_process` in
/// week7/util.py of the course.
pub fn price(text: &str) -> f64 {
    let bytes: Vec<u8> = text.bytes().filter(|b| !b"$,".contains(b)).collect();
    let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    for start in 0..bytes.len() {
        let sign = usize::from(b"+-".contains(&bytes[start]));
        let whole = start + sign + digits(start + sign);
        let decimal = bytes.get(whole) == Some(&b'.') && digits(whole + 1) > 0;
        let end = match decimal {
            true => whole + 1 + digits(whole + 1),
            // Without a point, a match begins with a digit.
            false if sign == 0 && whole > start => whole,
            false => continue,
        };
        let number = std::str::from_utf8(&bytes[start..end]).ok();
        return number.and_then(|n| n.parse().ok()).unwrap_or(0.0);
    }
    0.0
}

#[cfg(test)]
mod tests {
    use super::price;

    #[test]
    fn the_first_number_is_the_price() {
        for (text, expected) in [
            ("189.00", 189.0),
            ("189", 189.0),
            ("$1,299.00 or so", 1299.0),
            ("", 0.0),
            ("no idea", 0.0),
            ("-5", 5.0),
            ("-5.5", -5.5),
            ("+.25", 0.25),
            ("1e9", 1.0),
            ("1.2.3", 1.2),
            ("12.", 12.0),
            ("..7", 0.7),
            ("a 3 b 4", 3.0),
            (" 99\n\n100", 99.0),
            ("-$7.50", -7.5),
            ("– 7 €", 7.0),
        ] {
            assert_eq!(price(text), expected, "{text:?}");
        }
    }
}
