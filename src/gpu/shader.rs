//! The composer: a body, preceded by one module for each role on its line 2, and what these use.

use super::op::Selection;
use super::variants::COOPERATIVE;

/// Which compiler reads the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// naga, which knows subgroups without a directive and rejects the directive, but wants that of f16.
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

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../shaders/lib/", $name, ".wgsl")))),*]
    };
}

const LIBRARY: &[(&str, &str)] = modules![
    "branch_lora",
    "branch_none",
    "codebook_nf4",
    "eights_nf4",
    "head_128",
    "head_32",
    "head_64",
    "half_eights",
    "indexed_nf4",
    "input4_norm",
    "input4_plain",
    "input4_swiglu",
    "input_norm",
    "input_plain",
    "input_swiglu",
    "mask_none",
    "mask_pcg",
    "quads_nf4",
    "reduce_subgroup",
    "reduce_workgroup",
    "row_lanes8",
    "rows_bf16",
    "rows_f16",
    "rows_f32",
    "rows_nf4",
    "rows_nf4_quads",
    "rows_nf4_single",
    "shared_nf4",
    "weight_bf16",
    "weight_f16",
    "weight_f32",
    "nf4_lanes8",
    "weight_nf4",
    "weight_nf4_quads",
    "weight_nf4_single",
];

/// The modules of `shaders/lib`: name and text.
pub fn library() -> &'static [(&'static str, &'static str)] {
    LIBRARY
}

/// The roles on line 2 of a kernel file.
pub(super) fn roles(source: &'static str) -> Vec<&'static str> {
    let line = source.lines().nth(1).unwrap_or_default();
    let list = line.strip_prefix("// roles:").unwrap_or_default().trim();
    if list.is_empty() || list == "none" {
        return Vec::new();
    }
    list.split(',').map(str::trim).collect()
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
    let mut add = |file: String, source: &str| {
        out.map.push((out.text.lines().count() + 1, file));
        out.text.push_str(source);
        if !source.ends_with('\n') {
            out.text.push('\n');
        }
    };
    let source =
        |module: &str| LIBRARY.iter().find(|(name, _)| *name == module).map_or("", |m| m.1);
    // A module names others that it calls: `// uses: a`.
    let used =
        |module: &&'static str| source(module).lines().find_map(|l| l.strip_prefix("// uses: "));
    let mut modules: Vec<&str> = Vec::new();
    for module in selection.modules.iter().filter_map(used).chain(selection.modules.iter().copied())
    {
        if !modules.contains(&module) {
            modules.push(module);
            let text = selection.form.module(source(module), selection.body.source);
            add(format!("shaders/lib/{module}.wgsl"), &text);
        }
    }
    let file = match selection.body.name {
        "baseline" => selection.kernel.name.to_owned(),
        other => format!("{}_{other}", selection.kernel.name),
    };
    add(format!("shaders/{file}.wgsl"), &selection.form.body(selection.body.source));
    out
}
