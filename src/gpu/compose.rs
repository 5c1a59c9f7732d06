//! The composer: a body, preceded by one module for each role on its line 2, and by what it and
//! these use.

use super::body::Needs;
use super::images::loaded;
use super::library::{module, uses};
use super::select::Selection;

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
pub struct ModuleText {
    /// The WGSL text.
    pub text: String,
    /// `(first line in text, file)` in ascending order.
    pub map: Vec<(usize, String)>,
}

impl ModuleText {
    /// `shaders/lib/nf4.wgsl:12` for a line of the composed text (both from 1).
    pub fn locate(&self, line: usize) -> String {
        match self.map.iter().rev().find(|(first, _)| *first <= line) {
            Some((first, file)) => format!("{file}:{}", line - first + 1),
            None => format!("line {line}"),
        }
    }
}

impl Selection {
    /// What a device must offer to run it, in the words of the shader checks; empty: WebGPU's
    /// defaults.
    pub fn capabilities(&self) -> Vec<&'static str> {
        match self.body.needs {
            Needs::F16 => vec!["f16"],
            Needs::CooperativeF32 => vec![COOPERATIVE, "subgroups"],
            Needs::CooperativeF16 => vec![COOPERATIVE, "subgroups", "f16"],
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
fn require(name: &'static str, modules: &mut Vec<&'static str>) {
    if !modules.contains(&name) {
        uses(module(name)).into_iter().for_each(|used| require(used, modules));
        modules.push(name);
    }
}

/// Puts a variant's text together.
pub fn compose(selection: &Selection, target: Target) -> ModuleText {
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
    let mut add = |file: String, source: &str| {
        out.map.push((out.text.lines().count() + 1, file));
        out.text.push_str(source);
        if !source.ends_with('\n') {
            out.text.push('\n');
        }
    };
    let placed = |text: String| match selection.images {
        true => loaded(&text, selection.body),
        false => text,
    };
    let mut modules = Vec::new();
    for module in selection.modules.iter().copied().chain(uses(selection.body.source)) {
        require(module, &mut modules);
    }
    for name in modules {
        let text = selection.form.module(module(name), selection.body.source);
        add(format!("shaders/lib/{name}.wgsl"), &placed(text));
    }
    let file = selection.kernel.file(selection.body);
    add(file, &placed(selection.form.body(selection.body.source)));
    out
}
