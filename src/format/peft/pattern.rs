//! Regular expressions of Python's `re` over names of modules, and maps whose keys are such
//! expressions.

use std::fmt;

// On bytes: tables of Unicode's classes would be far larger than a configuration.
use regex::bytes::{Regex, RegexBuilder};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// How PEFT holds an expression against a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    /// `re.fullmatch`: `target_modules` and `exclude_modules`.
    Whole,
    /// `re.match(rf"(.*\.)?({key})$", name)`: `rank_pattern` and `alpha_pattern`.
    End,
    /// `re.match(rf"(?:^|.*?\.){pattern}\.(?P<idx>\d+)\.", name)`: `layers_pattern`.
    Layer,
}

/// An expression, compiled once.
#[derive(Clone)]
enum Compiled {
    /// Letters, digits, underscores and dots, where a dot is any character: nothing to compile.
    Name,
    Expression(Regex),
    /// With look-around, references and what else needs backtracking.
    Backtracking(fancy_regex::Regex),
    /// It is none, or one that this program cannot run.
    Broken,
}

/// A regular expression as Python's `re` reads it, held against names of modules
/// (`model.layers.0.self_attn.q_proj`).
#[derive(Clone)]
pub struct Pattern {
    text: String,
    held: Held,
    compiled: Compiled,
}

impl Pattern {
    /// An expression that means a module if it matches the whole of its name.
    pub fn whole(text: impl Into<String>) -> Pattern {
        Pattern::new(text.into(), Held::Whole)
    }

    /// An expression that means a module if it matches its name from the beginning or from behind a
    /// dot, to the end.
    pub fn end(text: impl Into<String>) -> Pattern {
        Pattern::new(text.into(), Held::End)
    }

    /// An expression for what stands before a block's number.
    pub(super) fn layer(text: impl Into<String>) -> Pattern {
        Pattern::new(text.into(), Held::Layer)
    }

    fn new(text: String, held: Held) -> Pattern {
        let plain = text.bytes().all(|c| c.is_ascii_alphanumeric() || b"_.".contains(&c));
        let compiled = match plain && held != Held::Layer {
            true => Compiled::Name,
            false => compile(&text, held).unwrap_or(Compiled::Broken),
        };
        Pattern { text, held, compiled }
    }

    /// The expression as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it can be used, and why not.
    pub fn check(&self) -> Result<(), String> {
        match self.compiled {
            Compiled::Broken => Err(format!(
                "`{}` is no module name and no regular expression that works here",
                self.text
            )),
            _ => Ok(()),
        }
    }

    /// Whether it means this module.
    pub fn matches(&self, module: &str) -> bool {
        match &self.compiled {
            Compiled::Name => {
                let Some(before) = module.len().checked_sub(self.text.len()) else { return false };
                let (head, tail) = module.as_bytes().split_at(before);
                let same = |(a, b): (&u8, &u8)| a == b || *b == b'.';
                let fits = tail.iter().zip(self.text.as_bytes()).all(same);
                fits && (head.is_empty() || self.held == Held::End && head.ends_with(b"."))
            }
            Compiled::Expression(regex) => regex.is_match(module.as_bytes()),
            Compiled::Backtracking(regex) => regex.is_match(module).unwrap_or(false),
            Compiled::Broken => false,
        }
    }

    /// Of an expression for blocks: the number behind it, and whether it was found at all.
    pub(super) fn block(&self, module: &str) -> Option<Option<usize>> {
        let number = match &self.compiled {
            Compiled::Expression(regex) => {
                let number = regex.captures(module.as_bytes())?.name("idx");
                number.and_then(|n| std::str::from_utf8(n.as_bytes()).ok())
            }
            Compiled::Backtracking(regex) => {
                regex.captures(module).ok()??.name("idx").map(|number| number.as_str())
            }
            Compiled::Name | Compiled::Broken => return None,
        };
        Some(number.and_then(|number| number.parse().ok()))
    }
}

/// Names on which an expression is tried: one that takes too long on them cannot be used.
const TRIED: [&str; 2] = ["model.layers.10.self_attn.q_proj", "model.layers.0.mlp.down_proj"];

/// What the crate `regex` has not.
const BACKTRACKING: [&str; 10] =
    ["(?=", "(?!", "(?<", "(?>", "(?P=", "(?(", "*+", "++", "?+", "}+"];

fn compile(text: &str, held: Held) -> Option<Compiled> {
    let rust = in_rust(text);
    let refers = rust.as_bytes().windows(2).any(|w| w[0] == b'\\' && (b'1'..=b'9').contains(&w[1]));
    let backtracks = refers || BACKTRACKING.iter().any(|part| rust.contains(part));
    let build = |whole: &str| -> Option<Compiled> {
        if !backtracks {
            let built = RegexBuilder::new(whole).unicode(false).size_limit(1 << 16).build();
            return built.ok().map(Compiled::Expression);
        }
        let built =
            fancy_regex::RegexBuilder::new(whole).delegate_size_limit(1 << 18).build().ok()?;
        let fast = TRIED.iter().all(|name| built.is_match(name).is_ok());
        fast.then_some(Compiled::Backtracking(built))
    };
    match held {
        Held::Whole => {
            // Alone, too: a parenthesis that closes ours would be an error there.
            build(&rust)?;
            build(&format!(r"\A(?:{rust})\z"))
        }
        Held::End => build(&format!(r"\A(.*\.)?({rust})\z")),
        Held::Layer => build(&format!(r"\A(?:(?:^|.*?\.){rust}\.(?P<idx>\d+)\.)")),
    }
}

/// The same expression for the crate `regex`, in whose classes `[`, `&&`, `--` and `~~` have
/// meanings that Python's have not, and which writes `\Z` and `{,n}` otherwise.
fn in_rust(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut class = None::<usize>;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match (c, class) {
            ('\\', _) => {
                out.push(c);
                out.extend(chars.next().map(|c| if c == 'Z' && class.is_none() { 'z' } else { c }));
                class = class.map(|n| n + 1);
                continue;
            }
            ('[', None) => {
                class = Some(0);
                out.push(c);
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                continue;
            }
            ('{', None) if chars.peek() == Some(&',') => {
                out.push_str("{0");
                continue;
            }
            // The first character of a class does not end it.
            (']', Some(n)) if n > 0 => class = None,
            ('[' | '&' | '~', Some(_)) => out.push('\\'),
            ('-', Some(_)) if out.ends_with('-') => out.push('\\'),
            _ => {}
        }
        out.push(c);
        class = class.map(|n| n + 1);
    }
    out
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        (&self.text, self.held) == (&other.text, other.held)
    }
}

impl Eq for Pattern {}

/// `rank_pattern` or `alpha_pattern`: values by pattern, in the order of the file. The first
/// pattern that means a module counts.
///
/// **Source** `get_pattern_key` of PEFT.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternMap<T>(Vec<(Pattern, T)>);

impl<T> Default for PatternMap<T> {
    fn default() -> PatternMap<T> {
        PatternMap(Vec::new())
    }
}

impl<T> PatternMap<T> {
    /// The value of a module.
    pub fn get(&self, module: &str) -> Option<&T> {
        self.0.iter().find(|(pattern, _)| pattern.matches(module)).map(|(_, value)| value)
    }

    /// All entries.
    pub fn iter(&self) -> impl Iterator<Item = (&Pattern, &T)> {
        self.0.iter().map(|(pattern, value)| (pattern, value))
    }

    /// The same patterns with other values.
    pub(super) fn try_map<U, E>(
        self,
        value: impl Fn(&Pattern) -> Result<U, E>,
    ) -> Result<PatternMap<U>, E> {
        let entries = self.0.into_iter();
        let made = entries.map(|(pattern, _)| value(&pattern).map(|value| (pattern, value)));
        made.collect::<Result<_, E>>().map(PatternMap)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The patterns that mean none of these modules.
    pub fn unmatched<'a>(&'a self, modules: &[impl AsRef<str>]) -> Vec<&'a str> {
        let meant = |pattern: &Pattern| modules.iter().any(|m| pattern.matches(m.as_ref()));
        self.iter().map(|(pattern, _)| pattern).filter(|p| !meant(p)).map(Pattern::text).collect()
    }
}

/// A pattern that comes a second time replaces the value, in the place of the first, as in Python.
impl<K: Into<String>, T> FromIterator<(K, T)> for PatternMap<T> {
    fn from_iter<I: IntoIterator<Item = (K, T)>>(entries: I) -> PatternMap<T> {
        let mut all = Vec::<(Pattern, T)>::new();
        for (key, value) in entries {
            let key = key.into();
            match all.iter_mut().find(|(pattern, _)| pattern.text == key) {
                Some(entry) => entry.1 = value,
                None => all.push((Pattern::end(key), value)),
            }
        }
        PatternMap(all)
    }
}

impl<K: Into<String>, T, const N: usize> From<[(K, T); N]> for PatternMap<T> {
    fn from(entries: [(K, T); N]) -> PatternMap<T> {
        entries.into_iter().collect()
    }
}

impl<T: Serialize> PatternMap<T> {
    /// As a list of pairs, where maps have no order.
    pub fn as_pairs<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|(pattern, value)| (pattern.text(), value)))
    }
}

impl<T: Serialize> Serialize for PatternMap<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (pattern, value) in &self.0 {
            map.serialize_entry(&pattern.text, value)?;
        }
        map.end()
    }
}

/// From a map, in its order, or from a list of pairs.
impl<'de, T: Deserialize<'de>> Deserialize<'de> for PatternMap<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<PatternMap<T>, D::Error> {
        struct Entries<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Entries<T> {
            type Value = PatternMap<T>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("layer names with a number each")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<PatternMap<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = list.next_element::<(String, T)>()? {
                    all.push(entry);
                }
                Ok(all.into_iter().collect())
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PatternMap<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(entry) = map.next_entry::<String, T>()? {
                    all.push(entry);
                }
                Ok(all.into_iter().collect())
            }
        }
        deserializer.deserialize_any(Entries(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_pythons() {
        for (python, rust) in [
            (r"[ab[]x", r"[ab\[]x"),
            (r"[]a]", "[]a]"),
            (r"[^]a]", "[^]a]"),
            (r"[a&&b--c~~]", r"[a\&\&b-\-c\~\~]"),
            (r"\[[\]]", r"\[[\]]"),
            (r"(?!.*\.mlp)[a-z]+", r"(?!.*\.mlp)[a-z]+"),
            (r"a{,2}[{,]\Z", r"a{0,2}[{,]\z"),
        ] {
            assert_eq!(in_rust(python), rust);
        }
    }

    #[test]
    fn a_dot_is_any_character() {
        assert!(Pattern::end("q.proj").matches("model.layers.0.self_attn.q_proj"));
        assert!(!Pattern::end("attn.q_proj").matches("model.layers.0.self_attn.q_proj"));
        assert!(
            Pattern::whole("model.layers.0.self.attn.q_proj")
                .matches("model.layers.0.self_attn.q_proj")
        );
        assert!(!Pattern::whole("q_proj").matches("model.layers.0.self_attn.q_proj"));
    }

    #[test]
    fn what_takes_too_long_is_refused() {
        assert!(Pattern::end(r"((?=a)a|[a-z_.0-9]+)*\1!").check().is_err());
        assert!(Pattern::whole("a)|(b").check().is_err());
        assert!(Pattern::end("(a{1000}){1000}").check().is_err());
    }
}
