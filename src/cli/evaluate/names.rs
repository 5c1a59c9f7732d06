//! What reports call the guesses.

/// The name in report.json, for people.
pub(super) fn title(name: &str) -> &str {
    match name {
        "fine_tuned" => "fine-tuned",
        "base" => "base model",
        "constant_mean" => "constant: mean",
        "constant_median" => "constant: median",
        "category_median" => "median of the category",
        "bag_of_words" => "2,000 words + linear regression",
        "tfidf_ridge" => "TF-IDF + ridge",
        "neighbours" => "median of the nearest products",
        "blend" => "blend of model, neighbours and words",
        other => other,
    }
}

/// With a capital.
pub(super) fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}
