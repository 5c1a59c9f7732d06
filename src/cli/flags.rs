//! Settings in the library's messages, spelled as the flags that set them.

use crate::error::spelled;

/// A message with `--max-length` where the library says `‹max_length›`.
pub(super) fn with_flags(text: &str) -> String {
    spelled(text, |name, value| {
        let is_name = name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_');
        let flag = is_name.then(|| format!("--{}", name.replace('_', "-")))?;
        Some(match value {
            None => flag,
            Some(value) => format!("{flag} {value}"),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_messages_become_flags() {
        let text = "give ‹loss = all›, another ‹max_length›, or ‹Nothing› of the sort";
        let told = "give --loss all, another --max-length, or ‹Nothing› of the sort";
        assert_eq!(with_flags(text), told);
    }
}
