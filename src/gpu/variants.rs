//! Every variant that a kernel can be composed as, and those that a device chooses: pure functions, for
//! the shader dump, `info`, and checkpoints.

use std::collections::BTreeMap;

use super::op::{Kernel, Needs, Selection};
use super::{Caps, library};

/// What an operation's data may decide, per role: the weight's storage, and whether its rows are aligned.
const SHAPES: [&str; 2] = ["aligned", "ragged"];

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
                let weight = modules.iter().find(|m| m.starts_with("weight_"));
                weight.is_none_or(|weight| {
                    SHAPES.iter().any(|shape| body.accepts(&[("weight", weight), ("shape", shape)]))
                })
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
    /// The variant that this device runs of each kernel in `kernels`, for every kind of weight and size
    /// of head: `linear_fwd weight_nf4 aligned` → `linear_fwd[baseline+weight_nf4]`.
    pub fn variants(&self, kernels: &[&'static Kernel]) -> BTreeMap<String, String> {
        let mut chosen = BTreeMap::new();
        for kernel in kernels {
            let has = |role| kernel.bodies.iter().any(|body| body.roles().contains(&role));
            if has("head") {
                for head in kernel.modules("head").into_iter().chain(["head_any"]) {
                    if let Ok(selection) = self.select(kernel, &[("head", head)]) {
                        chosen.insert(format!("{} {head}", kernel.name), selection.name());
                    }
                }
                continue;
            }
            if !has("weight") {
                if let Ok(selection) = self.select(kernel, &[]) {
                    chosen.insert(kernel.name.to_owned(), selection.name());
                }
                continue;
            }
            for weight in kernel.modules("weight") {
                for shape in SHAPES {
                    if let Ok(selection) =
                        self.select(kernel, &[("weight", weight), ("shape", shape)])
                    {
                        let key = format!("{} {weight} {shape}", kernel.name);
                        chosen.insert(key, selection.name());
                    }
                }
            }
        }
        chosen
    }
}
