//! The composer: a body, preceded by one module for each role on its line 2, and by what it and
//! these use.

use super::body::Needs;
use super::images::loaded;
use super::library::{module, uses};
use super::select::Selection;
use super::shader::Source;

/// The capability of matrix units; no browser has it.
pub const COOPERATIVE: &str = "cooperative-matrix";

/// Which compiler reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// naga, which knows subgroups without a directive and rejects the directive, but wants that of
    /// f16.
    Native,
    /// The browser's own compiler, which requires both.
    Browser,
}

impl Target {
    /// The compiler of this build.
    pub fn here() -> Target {
        if cfg!(target_arch = "wasm32") { Target::Browser } else { Target::Native }
    }
}

/// Composed text and where its lines come from.
pub(super) struct ModuleText {
    /// The WGSL text.
    pub(super) text: String,
    /// First line in the text, and the file in `shaders`, in ascending order.
    map: Vec<(usize, &'static str)>,
}

impl ModuleText {
    /// A compiler's words with the places that they name, `wgsl:120:5` of the composed text, as
    /// those of the files: `shaders/lib/rows_nf4.wgsl:12:5`.
    pub(super) fn located(&self, words: &str) -> String {
        let mut pieces = words.split("wgsl:");
        let mut out = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
            let line = piece[..digits].parse::<usize>().ok();
            let part = line.and_then(|n| Some((n, self.map.iter().rfind(|(at, _)| *at <= n)?)));
            match part {
                Some((n, (first, file))) => {
                    out += &format!("shaders/{file}:{}{}", n - first + 1, &piece[digits..]);
                }
                None => out += &format!("wgsl:{piece}"),
            }
        }
        out
    }

    /// The files that it is made of, by their paths in `shaders`.
    #[cfg(feature = "hot-shaders")]
    pub(super) fn files(&self) -> impl Iterator<Item = &'static str> {
        self.map.iter().map(|(_, file)| *file)
    }
}

impl Selection {
    /// What a device must offer to run it, in the words of the shader checks; empty: WebGPU's
    /// defaults.
    pub fn capabilities(&self) -> Vec<&'static str> {
        match self.body.needs {
            Needs::F16 => vec!["f16"],
            Needs::Units if self.modules.iter().any(|m| m.starts_with("unit_f16")) => {
                vec![COOPERATIVE, "subgroups", "f16"]
            }
            Needs::Units => vec![COOPERATIVE, "subgroups"],
            Needs::Subgroups(..) => vec!["subgroups"],
            Needs::Nothing if self.modules.iter().any(|m| m.contains("subgroup")) => {
                vec!["subgroups"]
            }
            Needs::Nothing => Vec::new(),
        }
    }

    /// The whole WGSL text.
    pub fn text(&self, target: Target) -> String {
        compose(self, target).text
    }
}

/// Adds a module behind those that it uses.
fn require(name: &str, modules: &mut Vec<&'static Source>) {
    let wanted = module(name).filter(|it| !modules.iter().any(|there| there.file == it.file));
    if let Some(source) = wanted {
        uses(source.text()).into_iter().for_each(|used| require(used, modules));
        modules.push(source);
    }
}

/// Puts a variant's text together.
pub(super) fn compose(selection: &Selection, target: Target) -> ModuleText {
    let mut out = ModuleText { text: String::new(), map: Vec::new() };
    for capability in selection.capabilities() {
        match capability {
            "f16" => out.text.push_str("enable f16;\n"),
            COOPERATIVE => out.text.push_str("enable wgpu_cooperative_matrix;\n"),
            _ if target == Target::Browser => {
                out.text.push_str(&format!("enable {capability};\n"));
            }
            _ => {}
        }
    }
    if !selection.body.images.is_empty() {
        out.text.push_str(&format!("const FROM_IMAGES = {};\n", selection.images));
    }
    let mut add = |file: &'static str, source: &str| {
        out.map.push((out.text.lines().count() + 1, file));
        out.text.push_str(source);
        if !source.ends_with('\n') {
            out.text.push('\n');
        }
    };
    let placed = |text: String| match selection.images {
        true => loaded(&text, &selection.images()),
        false => text,
    };
    let mut modules = Vec::new();
    let (form, source) = (selection.form, selection.body.source);
    for module in selection.modules.iter().copied().chain(uses(source.text())) {
        require(module, &mut modules);
    }
    for module in modules {
        add(module.file, &placed(form.module(module.text(), source.text())));
    }
    add(source.file, &placed(form.body(source.text())));
    out
}
