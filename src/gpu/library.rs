//! The modules of `shaders/lib`, which fill the roles of bodies or are called by name.

use super::shader::{Source, shader};

macro_rules! modules {
    ($($name:literal),* $(,)?) => {
        &[$(($name, shader!(concat!("lib/", $name, ".wgsl")))),*]
    };
}

static LIBRARY: &[(&str, Source)] = modules![
    "attention_pairs",
    "attention_tile",
    "branch8_lora",
    "branch8_none",
    "branch_lora",
    "branch_none",
    "codebook_indexed",
    "codebook_selects",
    "cooperative_64x64",
    "eights_nf4",
    "element_f32",
    "element_vec4",
    "half_eights",
    "head_128",
    "head_32",
    "head_64",
    "input4_norm",
    "input4_plain",
    "input4_swiglu",
    "input_norm",
    "input_plain",
    "input_swiglu",
    "linear_bwd_64x64",
    "linear_bwd_lanes8",
    "linear_fwd_64x64",
    "mask_none",
    "mask_pcg",
    "nf4_lanes8",
    "quads_nf4",
    "reduce_subgroup",
    "reduce_workgroup",
    "row_lanes8",
    "rows32_apart",
    "rows_bf16",
    "rows_f16",
    "rows_f32",
    "rows_nf4",
    "rows_nf4_quads",
    "rows_nf4_single",
    "scales_nf4",
    "shared_nf4",
    "tile_64x64",
    "unit_f16_16",
    "unit_f16_8",
    "unit_f32_8",
    "values_nf4",
    "weight_bf16",
    "weight_f16",
    "weight_f32",
    "weight_nf4",
    "weight_nf4_quads",
    "weight_nf4_single",
];

/// The modules of `shaders/lib`, by name.
pub fn library() -> &'static [(&'static str, Source)] {
    LIBRARY
}

/// The modules that fill a role.
pub(super) fn modules(role: &str) -> Vec<&'static str> {
    let prefix = format!("{role}_");
    library().iter().map(|(name, _)| *name).filter(|name| name.starts_with(&prefix)).collect()
}

/// The file of a module, if there is one of that name.
pub(super) fn module(name: &str) -> Option<&'static Source> {
    library().iter().find(|(module, _)| *module == name).map(|(_, source)| source)
}

/// The modules that a text says it calls: a module's `// uses: a, b`, or what follows a body's
/// roles.
pub fn uses(text: &'static str) -> Vec<&'static str> {
    let is_header = |line: &&str| line.starts_with("// uses: ") || line.starts_with("// roles: ");
    let list = text.lines().find(is_header).and_then(|line| line.split_once("uses: "));
    list.map(|(_, names)| names.split(", ").collect()).unwrap_or_default()
}
