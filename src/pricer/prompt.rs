//! The course's prompt and completion.

use crate::Result;
use crate::format::{Special, Tokenizer};

/// What the model is asked.
pub const QUESTION: &str = "What does this cost to the nearest dollar?";

pub use crate::data::trie::PREFIX;

/// Tokens of a summary that the course keeps.
pub const CUTOFF: usize = 110;

/// `QUESTION`, summary and `PREFIX`, with empty lines between. **Source** week7/pricer/items.py,
/// `make_prompts`.
pub fn prompt(summary: &str) -> String {
    format!("{QUESTION}\n\n{summary}\n\n{PREFIX}")
}

/// What stands above the neighbours' lines.
const NEIGHBOURS: &str = "\n\nSimilar products:\n";

/// [`prompt`] with a line for each similar product behind the summary.
pub fn prompt_with_neighbours(summary: &str, lines: &[String]) -> String {
    match lines.is_empty() {
        true => prompt(summary),
        false => prompt(&format!("{summary}{NEIGHBOURS}{}", lines.join("\n"))),
    }
}

/// Whether a prompt has neighbours.
pub fn has_neighbours(prompt: &str) -> bool {
    prompt.contains(NEIGHBOURS)
}

/// The summary in a prompt of this form, without neighbours; `None` if it has another.
pub fn summary_of(prompt: &str) -> Option<&str> {
    let rest = prompt.strip_prefix(QUESTION)?.strip_prefix("\n\n")?;
    let rest = rest.strip_suffix(PREFIX)?.strip_suffix("\n\n")?;
    Some(rest.rsplit_once(NEIGHBOURS).map_or(rest, |(summary, _)| summary))
}

/// The title in a prompt or summary, as the course's evaluator shows it: what follows `Title: ` on
/// its line, or the first line, cut to 40 characters.
pub fn title_of(text: &str) -> String {
    let text = summary_of(text).unwrap_or(text);
    let after = text.split_once("Title: ").map_or(text, |(_, rest)| rest);
    let line = after.lines().next().unwrap_or("").trim();
    match line.char_indices().nth(40) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line.to_owned(),
    }
}

/// The category in a prompt or summary.
pub fn category_of(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("Category: ")).map(str::trim)
}

/// Rounded to whole dollars as Python's `round` does it: halves to the even neighbour.
pub fn dollars(price: f64) -> f64 {
    price.round_ties_even()
}

/// How a completion spells its price.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Spelling {
    /// `"{round(price)}.00"`: the course's training and validation rows.
    #[default]
    Rounded,
    /// `"{round(price)}"`: fewer tokens to learn.
    Integer,
    /// As Python's `str(price)`: the course's test rows.
    Exact,
}

/// The completion of a price.
pub fn completion(price: f64, spelling: Spelling) -> String {
    match spelling {
        Spelling::Rounded => format!("{:.0}.00", dollars(price)),
        Spelling::Integer => format!("{:.0}", dollars(price)),
        // Rust's shortest form with a point is Python's repr for numbers of this size.
        Spelling::Exact => format!("{price:?}"),
    }
}

/// A summary cut to `most` tokens of the model's own tokenizer (no special tokens), and its tokens
/// before the cut. Shorter ones stay as they are; cut ones are decoded and lose white space at the
/// end. **Source** week7/day2.ipynb.
///
/// **Errors** those of the tokenizer.
pub fn cut(tokenizer: &Tokenizer, summary: &str, most: usize) -> Result<(String, usize)> {
    let ids = tokenizer.encode(summary, Special::Without)?;
    if ids.len() <= most {
        return Ok((summary.to_owned(), ids.len()));
    }
    // A token may end inside a character; the half does not belong to the text.
    let text = tokenizer.decode(&ids[..most], Special::With)?;
    Ok((text.trim_end_matches('\u{fffd}').trim_end().to_owned(), ids.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prompt_is_the_courses_and_can_be_taken_apart() {
        let summary = "Title: A lamp\nCategory: Home\nBrand: unknown";
        let text = prompt(summary);
        assert_eq!(
            text,
            "What does this cost to the nearest dollar?\n\nTitle: A lamp\nCategory: Home\nBrand: unknown\n\nPrice is $"
        );
        assert_eq!(summary_of(&text), Some(summary));
        assert_eq!(title_of(&text), "A lamp");
        assert_eq!(category_of(&text), Some("Home"));
        let lines = ["$12: Another lamp".to_owned(), "$15: A third".to_owned()];
        let longer = prompt_with_neighbours(summary, &lines);
        assert!(
            longer
                .ends_with("\n\nSimilar products:\n$12: Another lamp\n$15: A third\n\nPrice is $")
        );
        assert_eq!(summary_of(&longer), Some(summary));
        assert!(has_neighbours(&longer) && !has_neighbours(&text));
        assert_eq!(prompt_with_neighbours(summary, &[]), text);
        assert_eq!(title_of("just text"), "just text");
        assert_eq!(title_of(&"é".repeat(41)), format!("{}...", "é".repeat(40)));
    }

    #[test]
    fn halves_round_to_even_as_in_python() {
        for (price, rounded) in
            [(0.5, "0.00"), (1.5, "2.00"), (2.5, "2.00"), (64.3, "64.00"), (998.51, "999.00")]
        {
            assert_eq!(completion(price, Spelling::Rounded), rounded);
        }
        assert_eq!(completion(2.5, Spelling::Integer), "2");
        for (price, text) in [(219.0, "219.0"), (64.3, "64.3"), (0.5, "0.5"), (999.49, "999.49")] {
            assert_eq!(completion(price, Spelling::Exact), text);
        }
    }
}
