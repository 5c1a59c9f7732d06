//! A product as text.

/// What is known of a product; fields may be empty.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the names say it")]
pub struct Product {
    pub title: String,
    pub category: String,
    pub brand: String,
    pub description: String,
    pub details: String,
    /// In dollars.
    pub price: f64,
}

/// One line of text without runs of white space, control characters, or (unless they are kept) part
/// numbers.
///
/// **Source** of the part numbers: `\b(?=[A-Z0-9]{7,}\b)(?=.*[A-Z])(?=.*\d)[A-Z0-9]+\b` in
/// week6/pricer/parser.py; here the letter and the digit must stand in the word itself, not
/// anywhere behind it.
pub fn clean(text: &str, keep_part_numbers: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|w| !w.is_empty())
    {
        let kept = match keep_part_numbers {
            true => word.to_owned(),
            false => without_part_numbers(word),
        };
        if kept.chars().any(|c| c.is_alphanumeric()) || kept == word {
            if !out.is_empty() {
                out.push(' ');
            }
            out.push_str(&kept);
        }
    }
    out
}

fn without_part_numbers(word: &str) -> String {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::new();
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c| !inside(c)).unwrap_or(rest.len());
        let (part, after) = rest.split_at(end);
        let code = part.len() >= 7
            && part.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
            && part.bytes().any(|b| b.is_ascii_digit())
            && part.bytes().any(|b| b.is_ascii_uppercase());
        if !code {
            out.push_str(part);
        }
        let skip = after.find(inside).unwrap_or(after.len());
        out.push_str(&after[..skip]);
        rest = &after[skip..];
    }
    out
}

impl Product {
    /// The summary: `Title: …`, `Category: …`, `Brand: …`, `Description: …`, `Details: …`, one a
    /// line; empty fields have no line.
    pub fn summary(&self) -> String {
        let fields = [
            ("Title", &self.title),
            ("Category", &self.category),
            ("Brand", &self.brand),
            ("Description", &self.description),
            ("Details", &self.details),
        ];
        let lines: Vec<String> = fields
            .into_iter()
            .filter(|(_, text)| !text.is_empty())
            .map(|(name, text)| format!("{name}: {text}"))
            .collect();
        lines.join("\n")
    }

    /// All fields [`clean`]ed.
    pub fn cleaned(&self, keep_part_numbers: bool) -> Product {
        let clean = |text: &str| clean(text, keep_part_numbers);
        Product {
            title: clean(&self.title),
            category: clean(&self.category),
            brand: clean(&self.brand),
            description: clean(&self.description),
            details: clean(&self.details),
            price: self.price,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scrubbed(text: &str) -> String {
        clean(text, false)
    }

    #[test]
    fn summaries_have_a_line_per_field_that_is_there() {
        let product = Product { title: "A".into(), brand: "B".into(), ..Default::default() };
        assert_eq!(product.summary(), "Title: A\nBrand: B");
    }

    #[test]
    fn white_space_and_part_numbers_go() {
        assert_eq!(scrubbed("  a\t b\nc  "), "a b c");
        assert_eq!(scrubbed("Filter W10295370A for fridge"), "Filter for fridge");
        assert_eq!(scrubbed("Filter (AB12345), new"), "Filter new");
        assert_eq!(scrubbed("X/AB12345 pump"), "X/ pump");
        // No digit, no letter, too short, lower case.
        for kept in ["ABCDEFGH", "1234567890", "AB1234", "ab123456", "RTX4090"] {
            assert_eq!(scrubbed(kept), if kept == "RTX4090" { "" } else { kept }, "{kept}");
        }
    }
}
