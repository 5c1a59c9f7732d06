//! A template's text as tokens, as jinja2's lexer cuts it with `trim_blocks` and `lstrip_blocks`.
//!
//! **Source** jinja2 3.1 `lexer.py`.

use super::fault::{Result, beyond, raised};
use super::literal;
use super::token::Token;
use super::unicode::is_space;

/// Words of a template: the largest published ones have some thousand.
const MOST_TOKENS: usize = 1 << 16;

/// Longest first.
const OPERATORS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// All tokens with their lines, [`Token::End`] last.
pub(super) fn tokens(source: &str) -> Result<Vec<(Token, usize)>> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer { source, at: 0, line: 1, line_starts: true, found: Vec::new() };
    lexer.root()?;
    lexer.push(Token::End)?;
    Ok(lexer.found)
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: usize,
    /// Whether what was passed last ended a line.
    line_starts: bool,
    found: Vec<(Token, usize)>,
}

impl<'s> Lexer<'s> {
    fn rest(&self) -> &'s str {
        &self.source[self.at..]
    }

    fn push(&mut self, token: Token) -> Result<()> {
        if self.found.len() == MOST_TOKENS {
            return Err(beyond(format!("templates of more than {MOST_TOKENS} words")).at(self.line));
        }
        self.found.push((token, self.line));
        Ok(())
    }

    fn fail<T>(&self, why: impl Into<String>) -> Result<T> {
        Err(raised(why).at(self.line))
    }

    /// Goes on behind `bytes` more.
    fn pass(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        self.line += passed.matches('\n').count();
        if !passed.is_empty() {
            self.line_starts = passed.ends_with('\n');
        }
        self.at += bytes;
    }

    fn spaces(text: &str) -> usize {
        text.len() - text.trim_start_matches(is_space).len()
    }

    fn root(&mut self) -> Result<()> {
        while !self.rest().is_empty() {
            let rest = self.rest();
            let begins =
                |at: &usize| matches!(rest.as_bytes().get(at + 1), Some(b'{' | b'%' | b'#'));
            let Some(at) = rest.match_indices('{').map(|(at, _)| at).find(begins) else {
                self.push(Token::Data(rest.to_owned()))?;
                self.pass(rest.len());
                return Ok(());
            };
            let kind = rest.as_bytes()[at + 1];
            let sign = rest[at + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            self.data(&rest[..at], sign, kind == b'{')?;
            self.pass(at);
            let head = 2 + sign.map_or(0, char::len_utf8);
            match kind {
                b'#' => {
                    self.pass(head);
                    self.comment()?;
                }
                b'{' => {
                    self.push(Token::VariableBegin)?;
                    self.pass(head);
                    self.inside(Token::VariableEnd)?;
                }
                _ => match raw_tag(&self.rest()[head..], "raw") {
                    Some(length) => {
                        self.pass(head + length);
                        self.raw()?;
                    }
                    None => {
                        self.push(Token::BlockBegin)?;
                        self.pass(head);
                        self.inside(Token::BlockEnd)?;
                    }
                },
            }
        }
        Ok(())
    }

    /// The text before a tag: white space at its end goes if the tag says so, or if it stands alone
    /// in its line.
    fn data(&mut self, text: &str, sign: Option<char>, variable: bool) -> Result<()> {
        let mut kept = text;
        if sign == Some('-') {
            kept = text.trim_end_matches(is_space);
        } else if sign.is_none() && !variable {
            let line = text.rfind('\n').map_or(0, |at| at + 1);
            if (line > 0 || self.line_starts) && text[line..].chars().all(is_space) {
                kept = &text[..line];
            }
        }
        if !kept.is_empty() {
            self.push(Token::Data(kept.to_owned()))?;
        }
        Ok(())
    }

    /// What a tag's end swallows: `-%}` all white space, `%}` one line's end, `+%}` nothing.
    fn swallow(&mut self, sign: Option<char>, newline: bool) {
        let rest = self.rest();
        let length = match sign {
            Some('-') => Self::spaces(rest),
            None if newline && rest.starts_with('\n') => 1,
            _ => 0,
        };
        self.pass(length);
    }

    fn comment(&mut self) -> Result<()> {
        let Some(end) = self.rest().find("#}") else {
            return self.fail("Missing end of comment tag");
        };
        let sign = self.rest()[..end].chars().next_back().filter(|c| matches!(c, '-' | '+'));
        self.pass(end + 2);
        self.swallow(sign, true);
        Ok(())
    }

    /// The text up to `{% endraw %}`.
    fn raw(&mut self) -> Result<()> {
        let rest = self.rest();
        for (at, _) in rest.match_indices("{%") {
            let sign = rest[at + 2..].chars().next().filter(|c| matches!(c, '-' | '+'));
            let head = at + 2 + sign.map_or(0, char::len_utf8);
            let word = Self::spaces(&rest[head..]);
            let Some(behind) = rest[head + word..].strip_prefix("endraw") else { continue };
            let tail = behind.trim_start_matches(is_space);
            let close = tail.chars().next().filter(|c| matches!(c, '-' | '+'));
            let Some(after) = tail[close.map_or(0, char::len_utf8)..].strip_prefix("%}") else {
                continue;
            };
            self.data(&rest[..at], sign, false)?;
            self.pass(rest.len() - after.len());
            self.swallow(close, true);
            return Ok(());
        }
        self.fail("Missing end of raw directive")
    }

    /// The tokens of a tag, up to its end.
    fn inside(&mut self, end: Token) -> Result<()> {
        let close = if end == Token::BlockEnd { "%}" } else { "}}" };
        let mut open = Vec::new();
        loop {
            self.pass(Self::spaces(self.rest()));
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                return self.fail(match open.last() {
                    Some(expected) => format!("unexpected end of template, expected '{expected}'"),
                    None => "unexpected end of template in a tag".to_owned(),
                });
            };
            if open.is_empty() {
                let sign = Some(first).filter(|c| *c == '-' || (*c == '+' && close == "%}"));
                if rest[sign.map_or(0, char::len_utf8)..].starts_with(close) {
                    self.push(end)?;
                    self.pass(close.len() + sign.map_or(0, char::len_utf8));
                    self.swallow(sign, close == "%}");
                    return Ok(());
                }
            }
            let behind_dot = self.source[..self.at].ends_with('.');
            if let Some((token, length)) = literal::number(rest, behind_dot)? {
                self.push(token)?;
                self.pass(length);
            } else if first == '_' || first.is_alphanumeric() {
                let ends = |c: char| !(c == '_' || c.is_alphanumeric());
                let name = &rest[..rest.find(ends).unwrap_or(rest.len())];
                self.push(Token::Name(name.into()))?;
                self.pass(name.len());
            } else if matches!(first, '\'' | '"') {
                let Some(length) = literal::text_length(rest) else {
                    return self.fail(format!("unexpected char {first:?}"));
                };
                let text = literal::unescape(&rest[1..length - 1]).map_err(|e| e.at(self.line))?;
                self.push(Token::Text(text))?;
                self.pass(length);
            } else {
                let Some(operator) = OPERATORS.into_iter().find(|o| rest.starts_with(o)) else {
                    return self.fail(format!("unexpected char {first:?}"));
                };
                match operator {
                    "(" => open.push(")"),
                    "[" => open.push("]"),
                    "{" => open.push("}"),
                    ")" | "]" | "}" => match open.pop() {
                        None => return self.fail(format!("unexpected '{operator}'")),
                        Some(expected) if expected != operator => {
                            let why = format!("unexpected '{operator}', expected '{expected}'");
                            return self.fail(why);
                        }
                        Some(_) => {}
                    },
                    _ => {}
                }
                self.push(Token::Operator(operator))?;
                self.pass(operator.len());
            }
        }
    }
}

/// The length of ` raw %}` or ` raw -%}` and the white space that the latter swallows.
fn raw_tag(text: &str, word: &str) -> Option<usize> {
    let behind = text.trim_start_matches(is_space).strip_prefix(word)?;
    let tail = behind.trim_start_matches(is_space);
    let after = match tail.strip_prefix("-%}") {
        Some(after) => after.trim_start_matches(is_space),
        None => tail.strip_prefix("%}")?,
    };
    Some(text.len() - after.len())
}
