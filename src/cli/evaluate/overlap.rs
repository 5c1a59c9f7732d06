//! How alike an answer and the truth are, as texts.

use std::collections::BTreeMap;

/// Words as SQuAD compares them: lower case, without punctuation and articles.
///
/// **Source** Rajpurkar et al. 2016 (arXiv:1606.05250), its evaluation script.
fn squad_words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    let words = plain.split_whitespace().filter(|word| !["a", "an", "the"].contains(word));
    words.map(str::to_owned).collect()
}

/// Words as ROUGE counts them: lower case letters and digits, everything else between them.
fn rouge_words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    let words = lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// `2·p·r / (p + r)` with `p = common / of answer`, `r = common / of truth`; 1 for two texts
/// without words, 0 for one.
fn f_measure(common: usize, answer: usize, truth: usize) -> f64 {
    match (answer, truth) {
        (0, 0) => 1.0,
        _ => 2.0 * common as f64 / (answer + truth) as f64,
    }
}

/// F1 of the words that both have, each as often as in the one that has it less often.
pub(super) fn token_f1(answer: &str, truth: &str) -> f64 {
    let (answer, truth) = (squad_words(answer), squad_words(truth));
    let mut left: BTreeMap<&str, usize> = BTreeMap::new();
    truth.iter().for_each(|word| *left.entry(word).or_default() += 1);
    let mut common = 0;
    for word in &answer {
        if let Some(count) = left.get_mut(word.as_str()).filter(|count| **count > 0) {
            *count -= 1;
            common += 1;
        }
    }
    f_measure(common, answer.len(), truth.len())
}

/// ROUGE-L's F1: of the longest sequence of words that both have in this order.
///
/// **Source** Lin 2004 ("ROUGE: A Package for Automatic Evaluation of Summaries"), with β = 1.
pub(super) fn rouge_l(answer: &str, truth: &str) -> f64 {
    let (answer, truth) = (rouge_words(answer), rouge_words(truth));
    let mut row = vec![0usize; truth.len() + 1];
    for a in &answer {
        let mut diagonal = 0;
        for (j, t) in truth.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = if a == t { diagonal + 1 } else { above.max(row[j]) };
            diagonal = above;
        }
    }
    f_measure(row[truth.len()], answer.len(), truth.len())
}

/// The number that an expression finds: its first group, or all of the match, without `$` and
/// commas.
pub(super) fn number(expression: &regex::Regex, text: &str) -> Option<f64> {
    let found = expression.captures(text)?;
    let text = found.get(1).or(found.get(0))?.as_str();
    let digits: String = text.chars().filter(|c| !matches!(c, '$' | ',' | ' ')).collect();
    digits.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_in_common_are_counted() {
        assert_eq!(token_f1("The cat sat.", "a cat sat"), 1.0);
        // Common: cat, once. Of 2 and 3 words.
        assert!((token_f1("cat cat", "the cat is here") - 2.0 / 5.0).abs() < 1e-12);
        assert_eq!((token_f1("", ""), token_f1("", "x"), token_f1("x", "")), (1.0, 0.0, 0.0));
    }

    #[test]
    fn the_longest_common_sequence_decides() {
        // Lin's example: "police kill the gunman" has 2 of 4 in order with "the gunman …".
        assert_eq!(rouge_l("police kill the gunman", "police killed the gunman"), 0.75);
        assert_eq!(rouge_l("the gunman kill police", "police killed the gunman"), 0.5);
        assert_eq!(rouge_l("a-b c", "A B, C!"), 1.0);
        assert_eq!((rouge_l("", ""), rouge_l("x", "")), (1.0, 0.0));
    }

    #[test]
    fn numbers_are_found_by_an_expression() {
        let of =
            |expression: &str, text: &str| number(&regex::Regex::new(expression).unwrap(), text);
        assert_eq!(of(r"\$([0-9,.]+)", "it costs $1,234.50 or $7"), Some(1234.5));
        assert_eq!(of(r"-?\d+", "at -4 degrees"), Some(-4.0));
        assert_eq!((of(r"\d+", "none"), of("x", "x")), (None, None));
    }
}
