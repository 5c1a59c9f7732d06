//! Every variant that a kernel can be composed as, and those that a device chooses: pure functions, for
//! the shader dump, `info`, and checkpoints.

use std::collections::BTreeMap;

use super::op::{Kernel, Needs, Selection};
use super::{Caps, library};

/// What an operation's data may decide, per role: the weight's storage, whether rows are aligned, and
/// how many there are.
const SHAPES: [&str; 2] = ["aligned", "ragged"];
const SIZES: [&str; 2] = ["many", "few"];

impl Kernel {
    /// The modules of `shaders/lib` that can fill a role of this kernel.
    fn modules(&self, role: &str) -> Vec<&'static str> {
        let has_scales = self.bindings.iter().any(|(name, _)| *name == "scales");
        let prefix = format!("{role}_");
        let fits = |name: &&str| name.starts_with(&prefix) && (has_scales || !name.contains("nf4"));
        library().iter().map(|(name, _)| *name).filter(fits).collect()
    }

    /// Every body with every combination of modules that it accepts.
    pub fn variants(&'static self) -> Vec<Selection> {
        let mut all = Vec::new();
        for body in self.bodies {
            let mut combinations = vec![Vec::new()];
            for role in body.roles() {
                let modules = self.modules(role);
                let grown = combinations.iter().flat_map(|before: &Vec<&'static str>| {
                    modules.iter().map(move |module| [before.as_slice(), &[*module]].concat())
                });
                combinations = grown.collect();
            }
            let accepted = |modules: &Vec<&'static str>| {
                let mut storage =
                    modules.iter().filter(|m| m.starts_with("weight_") || m.starts_with("rows_"));
                storage.all(|module| body.accepts(&[("storage", module)]))
            };
            let selections = combinations.into_iter().filter(accepted);
            all.extend(selections.map(|modules| Selection {
                kernel: self,
                body,
                modules,
                workgroup: None,
            }));
        }
        all
    }
}

impl Selection {
    /// What a device must offer to run it, in the words of the shader checks; empty: WebGPU's defaults.
    pub fn capabilities(&self) -> Vec<&'static str> {
        let subgroups = self.body.needs != Needs::Nothing
            || self.modules.iter().any(|module| module.contains("subgroup"));
        if subgroups { vec!["subgroups"] } else { Vec::new() }
    }
}

impl Caps {
    /// The variant that this device runs of each kernel in `kernels`, for every kind of weight:
    /// `linear_fwd weight_nf4 aligned` → `linear_fwd[baseline+weight_nf4]`.
    pub fn variants(&self, kernels: &[&'static Kernel]) -> BTreeMap<String, String> {
        let mut chosen = BTreeMap::new();
        for kernel in kernels {
            let weighted = kernel.bodies.iter().any(|body| body.roles().contains(&"weight"));
            if !weighted {
                if let Ok(selection) = self.select(kernel, &[]) {
                    chosen.insert(kernel.name.to_owned(), selection.name());
                }
                continue;
            }
            for weight in kernel.modules("weight") {
                let rows = library().iter().map(|(name, _)| *name);
                let rows =
                    rows.filter(|name| weight.strip_prefix("weight") == name.strip_prefix("rows"));
                let rows: Vec<_> = rows.map(|rows| ("rows", rows)).collect();
                for (shape, size) in SHAPES.iter().flat_map(|s| SIZES.map(|z| (*s, z))) {
                    let roles = [("weight", weight), ("shape", shape), ("size", size)];
                    if let Ok(selection) = self.select(kernel, &[&roles, rows.as_slice()].concat())
                    {
                        let key = format!("{} {weight} {shape}", kernel.name);
                        let many = chosen.entry(key.clone()).or_insert_with(|| selection.name());
                        if *many != selection.name() {
                            chosen.insert(format!("{key} {size}"), selection.name());
                        }
                    }
                }
            }
        }
        chosen
    }
}
