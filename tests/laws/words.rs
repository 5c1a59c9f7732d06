//! How wide the text is that a person reads, and how long the map.

use super::architecture::files;
use std::fs;
use std::path::{Path, PathBuf};

const WIDTH: usize = 100;

/// Kinds of files by their endings, and what a line begins with that is text in them.
const KINDS: &[(&str, &[&str])] = &[
    ("md", &[""]),
    ("rs", &["//"]),
    ("wgsl", &["//"]),
    ("js", &["//", "/*", "*"]),
    ("mjs", &["//", "/*", "*"]),
    ("ts", &["//", "/*", "*"]),
    ("py", &["#"]),
    ("toml", &["#"]),
];

const FOLDERS: &[&str] = &[
    ".config", "assets", "benches", "docs", "examples", "fuzz", "shaders", "src", "tests", "web",
    "xtask",
];

/// What is built, and what was written down during a run.
const LEFT_OUT: &[&str] = &["benches/runs", "fuzz/target", "web/dist"];

/// Lines of text that are too wide: of those that begin with one of `marks` all but tables and
/// code blocks. A link at a line's end may reach beyond.
fn too_wide<'a>(text: &'a str, marks: &[&str]) -> Vec<&'a str> {
    let reaches = |line: &str| {
        let (words, last) = line.rsplit_once(' ').unwrap_or(("", line));
        let is_link = last.contains("](") || last.contains("://");
        (if is_link { words } else { line }).chars().count() > WIDTH
    };
    let mut in_code = false;
    let is_text = |line: &&str| marks.iter().any(|mark| line.trim_start().starts_with(mark));
    let is_wide = |line: &&str| {
        let words = line.trim_start_matches(['/', '!', '#', '*', '>', ' ']);
        in_code ^= words.starts_with("```");
        !in_code && !words.starts_with('|') && reaches(line)
    };
    text.lines().filter(is_text).filter(is_wide).collect()
}

/// The text of a file behind its contract: the first three lines of a kernel's body.
fn free_text(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let is_body = text.lines().nth(1).is_some_and(|line| line.starts_with("// roles: "));
    text.split_inclusive('\n').skip(if is_body { 3 } else { 0 }).collect()
}

#[test]
fn text_is_at_most_a_hundred_columns_wide() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let mut all = vec![(root.join(".ci/run"), ["#"].as_slice())];
    for (ending, marks) in KINDS {
        let mut found: Vec<_> = fs::read_dir(&root).unwrap().map(|e| e.unwrap().path()).collect();
        found.retain(|path| path.is_file() && path.extension().is_some_and(|e| e == *ending));
        FOLDERS.iter().for_each(|folder| files(&root.join(folder), ending, &mut found));
        all.extend(found.into_iter().map(|path| (path, *marks)));
    }
    assert!(all.len() > 500, "files were not found");
    let mut wide = Vec::new();
    for (path, marks) in all {
        let place = path.strip_prefix(&root).unwrap();
        if LEFT_OUT.iter().any(|folder| place.starts_with(folder)) {
            continue;
        }
        for line in too_wide(&free_text(&path), marks) {
            wide.push(format!("{}: {line}", place.display()));
        }
    }
    assert!(wide.is_empty(), "{wide:#?}");
}

#[test]
fn a_reader_comes_to_the_end_of_the_map() {
    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let lines = fs::read_to_string(map).unwrap().lines().count();
    assert!(lines <= 200, "{lines} lines");
}

#[test]
fn what_is_too_wide_is_found() {
    let long = format!("{}end", "word · ".repeat(14));
    assert_eq!(long.chars().count(), WIDTH + 1);
    let comment = format!("    // {}", &long[..long.len() - 4]);
    for (text, marks) in [(&long, ""), (&comment, "//")] {
        assert_eq!(too_wide(text, &[marks]), [text]);
    }
    let fits = long.replacen("word", "wor", 1);
    let code = format!("```\n{long}\n```");
    let table = format!("| {long} |");
    let link = format!("{fits} [how](a.md)");
    for text in [&fits, &code, &table, &link] {
        assert!(too_wide(text, &[""]).is_empty(), "{text}");
    }
    assert_eq!(too_wide(&format!("{link} again"), &[""]).len(), 1);
    assert_eq!(too_wide(&format!("{code}\n{long}"), &[""]).len(), 1);
    let statement = format!("let x = \"{long}\";");
    assert!(too_wide(&statement, &["//"]).is_empty());
}
