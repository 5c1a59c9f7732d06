//! The modules of `shaders/lib`, which fill the roles of bodies.

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
