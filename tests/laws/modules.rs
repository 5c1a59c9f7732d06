//! The modules of a crate as its sources spell them: which file defines a name, and which files a
//! file uses.
//!
//! Names are followed through imports, globs and re-exports to the file that defines them. Not seen
//! are methods (only the type that has them is), and names that a macro makes: those count for the
//! module that they are looked for in.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A `use` of one name: the path, and what it is called here; `*` for all.
#[derive(Debug)]
struct Use {
    path: Vec<String>,
    name: String,
    is_public: bool,
}

#[derive(Debug, Default)]
struct Module {
    file: PathBuf,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    items: BTreeSet<String>,
    uses: Vec<Use>,
    /// Paths in code, and words outside of `use` and `mod`.
    mentions: BTreeSet<Vec<String>>,
    words: BTreeSet<String>,
}

/// What a name means.
#[derive(Clone, Copy)]
enum Meaning {
    Module(usize),
    /// Something that this module defines.
    Item(usize),
}

/// All modules of a crate, the root first; what is only for tests is left out.
#[derive(Debug, Default)]
pub struct Modules(Vec<Module>);

impl Modules {
    /// Reads a crate from its root file.
    pub fn read(root: &Path) -> Modules {
        let mut all = Modules::default();
        all.add_file(root.to_path_buf(), None, root.parent().unwrap());
        all
    }

    /// Adds a file; modules that it declares lie in `folder`.
    fn add_file(&mut self, file: PathBuf, parent: Option<usize>, folder: &Path) -> usize {
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let id = self.0.len();
        self.0.push(Module { file, parent, ..Module::default() });
        self.add_code(id, &tokens(&text), folder);
        id
    }

    fn add_code(&mut self, id: usize, code: &[String], folder: &Path) {
        let at = |i: usize| code.get(i).map_or("", String::as_str);
        let (mut i, mut depth, mut is_public, mut path_of) = (0, 0, false, None);
        while i < code.len() {
            let public = std::mem::take(&mut is_public);
            match at(i) {
                "#" => {
                    let start = i + 1 + usize::from(at(i + 1) == "!");
                    let end = group_end(code, start);
                    let attribute = code[start..end].concat();
                    i = end;
                    if attribute == "[cfg(test)]" {
                        i = item_end(code, i);
                    }
                    if let Some(path) = attribute.strip_prefix("[path=\"") {
                        path_of = Some(path.trim_end_matches("\"]").to_owned());
                    }
                    is_public = public;
                }
                "pub" => {
                    i = if at(i + 1) == "(" { group_end(code, i + 1) } else { i + 1 };
                    is_public = true;
                }
                "use" => {
                    let end = i + code[i..].iter().position(|t| t == ";").unwrap();
                    let mut leaves = Vec::new();
                    tree(&code[i + 1..end], &[], &mut leaves);
                    let made = |(path, name)| Use { path, name, is_public: public };
                    self.0[id].uses.extend(leaves.into_iter().map(made));
                    i = end + 1;
                }
                "mod" if at(i + 2) == ";" => {
                    let name = at(i + 1).to_owned();
                    let nested = folder.join(&name).join("mod.rs");
                    let (file, inside) = match path_of.take() {
                        Some(path) => {
                            let file = self.0[id].file.with_file_name(path);
                            (file.clone(), file.with_extension(""))
                        }
                        None if nested.exists() => (nested, folder.join(&name)),
                        None => (folder.join(format!("{name}.rs")), folder.join(&name)),
                    };
                    let child = self.add_file(file, Some(id), &inside);
                    self.0[id].children.insert(name, child);
                    i += 3;
                }
                "mod" if at(i + 2) == "{" => {
                    let (name, end) = (at(i + 1).to_owned(), group_end(code, i + 2));
                    let child = self.0.len();
                    let file = self.0[id].file.clone();
                    self.0.push(Module { file, parent: Some(id), ..Module::default() });
                    self.add_code(child, &code[i + 3..end - 1], &folder.join(&name));
                    self.0[id].children.insert(name, child);
                    i = end;
                }
                word if is_word(word) => {
                    let kinds = ["fn", "struct", "enum", "trait", "type", "const", "static"];
                    let next = at(i + 1);
                    if depth == 0 && kinds.contains(&word) && is_word(next) && next != "fn" {
                        self.0[id].items.insert(next.to_owned());
                    }
                    if word == "macro_rules" {
                        self.0[id].items.insert(at(i + 2).to_owned());
                    }
                    self.0[id].words.insert(word.to_owned());
                    let mut path = vec![word.to_owned()];
                    i += 1;
                    while at(i) == "::" && is_word(at(i + 1)) {
                        path.push(at(i + 1).to_owned());
                        i += 2;
                    }
                    if path.len() > 1 {
                        self.0[id].mentions.insert(path);
                    }
                }
                other => {
                    depth += i32::from(["{", "(", "["].contains(&other));
                    depth -= i32::from(["}", ")", "]"].contains(&other));
                    // The rest of `<T as Trait>::NAME` is no path.
                    i += if other == "::" { 2 } else { 1 };
                }
            }
        }
    }

    /// What a name means inside a module.
    fn lookup(
        &self,
        id: usize,
        name: &str,
        seen: &mut BTreeSet<(usize, String)>,
    ) -> Option<Meaning> {
        if !seen.insert((id, name.to_owned())) {
            return None;
        }
        let module = &self.0[id];
        if let Some(child) = module.children.get(name) {
            return Some(Meaning::Module(*child));
        }
        if module.items.contains(name) {
            return Some(Meaning::Item(id));
        }
        let named = module.uses.iter().filter(|u| u.name == name);
        named.into_iter().find_map(|u| self.resolve(id, &u.path, seen)).or_else(|| {
            let globs = module.uses.iter().filter(|u| u.name == "*");
            globs.into_iter().find_map(|u| match self.resolve(id, &u.path, seen)? {
                Meaning::Module(of) => self.lookup(of, name, seen),
                Meaning::Item(_) => None,
            })
        })
    }

    /// What a path means inside a module; nothing if it leads to another crate.
    fn resolve(
        &self,
        id: usize,
        path: &[String],
        seen: &mut BTreeSet<(usize, String)>,
    ) -> Option<Meaning> {
        let mut at = id;
        for (i, name) in path.iter().enumerate() {
            let next = match name.as_str() {
                "crate" => Some(Meaning::Module(0)),
                "self" => Some(Meaning::Module(at)),
                "super" => self.0[at].parent.map(Meaning::Module),
                name => self.lookup(at, name, seen),
            };
            match next {
                Some(Meaning::Module(module)) => at = module,
                None if i > 0 => return Some(Meaning::Item(at)),
                other => return other,
            }
        }
        Some(Meaning::Module(at))
    }

    /// Each file and the files whose names it uses, itself apart. A `mod` or a re-export is no use.
    pub fn uses(&self) -> BTreeMap<PathBuf, BTreeSet<PathBuf>> {
        let mut all: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
        for (id, module) in self.0.iter().enumerate() {
            let used = all.entry(module.file.clone()).or_default();
            let mut add = |meaning: Option<Meaning>| {
                if let Some(Meaning::Item(of)) = meaning {
                    used.extend((self.0[of].file != module.file).then(|| self.0[of].file.clone()));
                }
            };
            for u in &module.uses {
                let target = self.resolve(id, &u.path, &mut BTreeSet::new());
                match (u.name.as_str(), target) {
                    ("*", Some(Meaning::Module(of))) => {
                        let word = |word: &String| self.lookup(of, word, &mut BTreeSet::new());
                        module.words.iter().for_each(|w| add(word(w)));
                    }
                    (name, target) if !u.is_public || module.words.contains(name) => add(target),
                    _ => {}
                }
            }
            for path in &module.mentions {
                add(self.resolve(id, path, &mut BTreeSet::new()));
            }
        }
        all
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// The leaves of what stands between `use` and `;`, each with its name.
fn tree(code: &[String], before: &[String], leaves: &mut Vec<(Vec<String>, String)>) {
    let mut path = before.to_vec();
    let mut i = 0;
    while i < code.len() {
        match code[i].as_str() {
            "::" => {}
            "{" => {
                let end = group_end(code, i);
                let mut start = i + 1;
                while start < end - 1 {
                    let mut stop = start;
                    while stop < end - 1 && code[stop] != "," {
                        stop = if code[stop] == "{" { group_end(code, stop) } else { stop + 1 };
                    }
                    tree(&code[start..stop], &path, leaves);
                    start = stop + 1;
                }
                return;
            }
            "*" => return leaves.push((path, "*".into())),
            "as" => return leaves.push((path, code[i + 1].clone())),
            "self" if !path.is_empty() => {}
            name => path.push(name.into()),
        }
        i += 1;
    }
    if let Some(name) = path.last().cloned() {
        leaves.push((path, name));
    }
}

/// Behind the group that begins at `start`.
fn group_end(code: &[String], start: usize) -> usize {
    let mut depth = 0;
    for (i, token) in code.iter().enumerate().skip(start) {
        depth += i32::from(["{", "(", "["].contains(&token.as_str()));
        depth -= i32::from(["}", ")", "]"].contains(&token.as_str()));
        if depth == 0 {
            return i + 1;
        }
    }
    code.len()
}

/// Behind the item that begins at `start`: its `;`, or its block.
fn item_end(code: &[String], start: usize) -> usize {
    let mut i = start;
    while i < code.len() {
        match code[i].as_str() {
            ";" => return i + 1,
            "{" => return group_end(code, i),
            "(" | "[" => i = group_end(code, i),
            _ => i += 1,
        }
    }
    i
}

/// Words, `::` and single signs; of literals, only texts in attributes matter, and they stay whole.
fn tokens(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let find = |from: usize, what: &[char]| {
        (from..chars.len()).find(|&i| chars[i..].starts_with(what)).unwrap_or(chars.len())
    };
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let (mut all, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        let (start, c) = (i, at(i));
        let hashes = (i + 1..).take_while(|&k| at(k) == '#').count();
        let raw = at(i + 1 + hashes) == '"'
            && (c == 'r' && (start == 0 || !is_part(at(i - 1)) || at(i - 1) == 'b'));
        if raw {
            let end: Vec<char> = std::iter::once('"').chain((0..hashes).map(|_| '#')).collect();
            i = find(i + 2 + hashes, &end) + end.len();
        } else if c == '/' && at(i + 1) == '/' {
            i = find(i, &['\n']);
        } else if c == '/' && at(i + 1) == '*' {
            i = find(i + 2, &['*', '/']) + 2;
        } else if c == '"' {
            i += 1;
            while i < chars.len() && at(i) != '"' {
                i += if at(i) == '\\' { 2 } else { 1 };
            }
            i += 1;
            all.push(chars[start..i.min(chars.len())].iter().collect());
        } else if c == '\'' && at(i + 1) == '\\' {
            i = find(i + 3, &['\'']) + 1;
        } else if c == '\'' && at(i + 2) == '\'' {
            i += 3;
        } else if is_part(c) {
            while is_part(at(i)) {
                i += 1;
            }
            let is_text = ["b", "c", "br", "cr"].contains(&&*String::from_iter(&chars[start..i]))
                && ['"', '\''].contains(&at(i));
            if !is_text {
                all.push(chars[start..i].iter().collect());
            }
        } else if c == ':' && at(i + 1) == ':' {
            all.push("::".into());
            i += 2;
        } else {
            if !c.is_whitespace() {
                all.push(c.into());
            }
            i += 1;
        }
    }
    all
}
