//! No file uses what uses it, however long the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs;
use std::path::{Path, PathBuf};

use crate::modules::Modules;

type Uses = BTreeMap<PathBuf, BTreeSet<PathBuf>>;

/// What `from` reaches, and through which file it was found.
fn reached(uses: &Uses, from: &Path) -> BTreeMap<PathBuf, PathBuf> {
    let (mut found, mut queue) = (BTreeMap::new(), VecDeque::from([from.to_path_buf()]));
    while let Some(file) = queue.pop_front() {
        for next in uses.get(&file).into_iter().flatten() {
            if !found.contains_key(next) {
                found.insert(next.clone(), file.clone());
                queue.push_back(next.clone());
            }
        }
    }
    found
}

/// A shortest circle, as `a -> b -> a`, of each set of files that reach each other.
fn circles(uses: &Uses, root: &Path) -> Vec<String> {
    let name = |file: &PathBuf| file.strip_prefix(root).unwrap_or(file).display().to_string();
    let all: BTreeMap<&PathBuf, _> = uses.keys().map(|file| (file, reached(uses, file))).collect();
    let mut done = BTreeSet::new();
    let mut circles = Vec::new();
    for (file, reaches) in &all {
        if !reaches.contains_key(*file) || done.contains(*file) {
            continue;
        }
        let both =
            |other: &&PathBuf| reaches.contains_key(*other) && all[other].contains_key(*file);
        let set: BTreeSet<&PathBuf> = all.keys().copied().filter(both).collect();
        let circle = |start: &PathBuf| {
            let (mut way, mut at) = (vec![name(start)], &all[start][start]);
            while at != start {
                way.push(name(at));
                at = &all[start][at];
            }
            way.push(name(start));
            way.reverse();
            way
        };
        let shortest = set.iter().map(|start| circle(start)).min_by_key(Vec::len).unwrap();
        circles.push(shortest.join(" -> "));
        done.extend(set);
    }
    circles
}

#[test]
fn no_file_uses_what_uses_it() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let uses = Modules::read(&source.join("lib.rs")).uses();
    assert!(uses.len() > 200, "modules were not found");
    let found = circles(&uses, &source);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_check_sees_through_reexports_and_knows_what_is_no_use() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let circles = |text: &str| {
        write("room/one.rs", text);
        let uses = Modules::read(&folder.path().join("lib.rs")).uses();
        circles(&uses, folder.path())
    };
    write("lib.rs", "mod room; mod other;");
    write("other.rs", "pub fn a() { crate::room::One::new(\"crate::x\", 'c') }");
    write(
        "room/mod.rs",
        "mod one; mod two; pub use one::One; pub(crate) use two::{self, Two as T};",
    );
    write(
        "room/two.rs",
        "use super::One; pub struct Two<'a>(&'a One); #[cfg(test)] mod tests { use crate::other; }",
    );
    assert_eq!(circles("pub struct One; // use super::Two"), [""; 0]);
    let two = ["room/one.rs -> room/two.rs -> room/one.rs"];
    assert_eq!(circles("use crate::room::T; pub struct One(T);"), two);
    assert_eq!(circles("pub struct One(super::two::Two);"), two);
    assert_eq!(circles("use super::*; pub struct One(T);"), two);
    let through = ["other.rs -> room/one.rs -> other.rs"];
    assert_eq!(
        circles("pub struct One; impl One { fn f() { use crate::other; other::a() } }"),
        through
    );
}
