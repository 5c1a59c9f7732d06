//! What Python knows of characters.

use super::fault::{Result, beyond};

/// `str.isspace` of a character, and `\s` of its patterns.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Whether `str.splitlines` ends a line there.
pub(super) fn ends_line(c: char) -> bool {
    matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Whether `repr` writes a character as it is.
pub(super) fn is_printable(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Behind another one, a character that only combines is written, too.
        c if !c.is_ascii() => format!("a{c}").escape_debug().nth(1).is_none_or(|c| c != '\\'),
        _ => false,
    }
}

/// A letter (categories L), where it is certain without tables of all characters.
pub(super) fn is_letter(c: char) -> Result<bool> {
    if c.is_ascii() {
        return Ok(c.is_ascii_alphabetic());
    }
    if !c.is_alphabetic() {
        return Ok(false);
    }
    match c {
        // Latin to Cyrillic without marks, Hebrew and Arabic letters, kana, Han, Hangul, full
        // width.
        'ª'
        | 'µ'
        | 'º'
        | 'À'..='\u{2c1}'
        | '\u{370}'..='\u{373}'
        | '\u{376}'..='\u{481}'
        | '\u{48a}'..='\u{52f}'
        | '\u{531}'..='\u{587}'
        | '\u{5d0}'..='\u{5ea}'
        | '\u{620}'..='\u{64a}'
        | '\u{671}'..='\u{6d3}'
        | '\u{904}'..='\u{939}'
        | '\u{e01}'..='\u{e30}'
        | '\u{10a0}'..='\u{10ff}'
        | '\u{1100}'..='\u{1248}'
        | '\u{1e00}'..='\u{1fff}'
        | '\u{3041}'..='\u{3096}'
        | '\u{30a1}'..='\u{30fa}'
        | '\u{3105}'..='\u{318e}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{ac00}'..='\u{d7a3}'
        | '\u{ff21}'..='\u{ff3a}'
        | '\u{ff41}'..='\u{ff5a}'
        | '\u{ff66}'..='\u{ff9d}'
        | '\u{20000}'..='\u{323af}' => Ok(true),
        c => Err(beyond(format!("whether U+{:04X} is a letter", u32::from(c)))),
    }
}

/// A digit; `kind` is the method that asks (`isdecimal`, `isdigit`, `isnumeric`).
pub(super) fn is_number(c: char, kind: &str) -> Result<bool> {
    if c.is_ascii() {
        return Ok(c.is_ascii_digit());
    }
    match c {
        '²' | '³' | '¹' | '\u{2070}' | '\u{2074}'..='\u{2079}' | '\u{2080}'..='\u{2089}' => {
            Ok(kind != "isdecimal")
        }
        '¼'..='¾' | '\u{2150}'..='\u{2189}' => Ok(kind == "isnumeric"),
        '\u{660}'..='\u{669}'
        | '\u{6f0}'..='\u{6f9}'
        | '\u{966}'..='\u{96f}'
        | '\u{ff10}'..='\u{ff19}' => Ok(true),
        // Han numerals are numeric letters.
        '\u{3007}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' if kind == "isnumeric" => {
            Err(beyond("Han numerals"))
        }
        c if !c.is_numeric() => Ok(false),
        c => Err(beyond(format!("whether U+{:04X} is a digit", u32::from(c)))),
    }
}

/// Letters and digits (`str.isalnum`); with `_`, `\w` of Python's patterns.
pub(super) fn is_word(c: char) -> Result<bool> {
    Ok(is_letter(c)?
        || is_number(c, "isdecimal")?
        || is_number(c, "isdigit")?
        || is_number(c, "isnumeric")?)
}

/// A text with its first letter large and the others small, as `capitalize` of one word does.
pub(super) fn capitalized(word: &str) -> Result<String> {
    let mut chars = word.chars();
    let Some(first) = chars.next() else { return Ok(String::new()) };
    check_case(word)?;
    let mut out = titled(first)?;
    out.push_str(&chars.as_str().to_lowercase());
    Ok(out)
}

/// The large form of a first letter.
pub(super) fn titled(c: char) -> Result<String> {
    let upper: String = c.to_uppercase().collect();
    match c {
        'ß' => Ok("Ss".into()),
        'Ǆ'..='ǌ' | 'Ǳ'..='ǳ' => Err(beyond(format!("the title case of `{c}`"))),
        _ if upper.chars().count() > 1 || ('\u{1f80}'..='\u{1fff}').contains(&c) => {
            Err(beyond(format!("the title case of `{c}`")))
        }
        _ => Ok(upper),
    }
}

/// Whether each letter's small form is the same wherever it stands.
pub(super) fn check_case(text: &str) -> Result<()> {
    match text.chars().find(|c| matches!(c, 'Σ' | 'İ')) {
        Some(c) => Err(beyond(format!("the case of `{c}` within a word"))),
        None => Ok(()),
    }
}
