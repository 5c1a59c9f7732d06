//! Every variant that a kernel can be composed as, and those that a device chooses: pure functions, for
//! the shader dump, `info`, and checkpoints.

use std::collections::{BTreeMap, BTreeSet};

use super::op::{HALF, Kernel, Needs, Selection};
use super::{Caps, Form, library};

/// The capability of matrix units; no browser has it.
pub const COOPERATIVE: &str = "cooperative-matrix";

/// `(role, module)` pairs as [`super::Op::roles`] gives them.
type Roles = Vec<(&'static str, &'static str)>;

/// Modules of `shaders/lib` that fill a role.
fn modules(role: &str) -> Vec<&'static str> {
    let prefix = format!("{role}_");
    library().iter().map(|(name, _)| *name).filter(|name| name.starts_with(&prefix)).collect()
}

/// Each of `all` with each of `more` behind it.
fn grown(all: &[Roles], more: &[Roles]) -> Vec<Roles> {
    all.iter().flat_map(|a| more.iter().map(move |b| [a.as_slice(), b].concat())).collect()
}

impl Kernel {
    /// What the data of an operation may decide: the weight's storage, whether shapes are aligned, the
    /// size of a head; and whether 16 bits are allowed. As far as this kernel's
    /// bodies care.
    fn contexts(&self) -> Vec<Roles> {
        let roles: BTreeSet<&str> = self.bodies.iter().flat_map(|body| body.roles()).collect();
        let asks = |word: &str| self.bodies.iter().any(|b| b.only.iter().any(|o| o.contains(word)));
        let mut all = vec![Roles::new()];
        if roles.contains("weight") {
            // A look-up has no scales to read.
            let has_scales = self.bindings.iter().any(|(name, _)| *name == "scales");
            let weights =
                modules("weight").into_iter().filter(|m| has_scales || !m.contains("nf4"));
            let context = |weight: &'static str| {
                let kind = weight.trim_start_matches("weight_");
                let rows =
                    modules("rows").into_iter().find(|m| m.trim_start_matches("rows_") == kind);
                let rows = rows.filter(|_| roles.contains("rows")).map(|module| ("rows", module));
                [("weight", weight)].into_iter().chain(rows).collect()
            };
            all = grown(&all, &weights.map(context).collect::<Vec<_>>());
        }
        if asks("aligned") {
            all = grown(&all, &[vec![("shape", "aligned")], vec![("shape", "ragged")]]);
        }
        if asks("thin") {
            all = grown(&all, &[vec![("ratio", "thin")], vec![("ratio", "wide")]]);
        }
        if roles.contains("mask") {
            let masks: Vec<Roles> =
                modules("mask").into_iter().map(|m| vec![("mask", m)]).collect();
            all = grown(&all, &masks);
        }
        if roles.contains("head") {
            let heads = modules("head").into_iter().chain(["head_any"]);
            all = grown(&all, &heads.map(|head| vec![("head", head)]).collect::<Vec<_>>());
        }
        if self.bodies.iter().any(|body| body.needs.half()) {
            all = grown(&all, &[vec![], vec![HALF]]);
        }
        all
    }

    /// Every body with every combination of modules that it accepts, each once.
    pub fn variants(&'static self) -> Vec<Selection> {
        let mut all: BTreeMap<String, Selection> = BTreeMap::new();
        for context in self.contexts() {
            for body in self.bodies.iter().filter(|body| body.accepts(&context)) {
                let mut combinations = vec![Roles::new()];
                for role in body.roles() {
                    let decided = context.iter().find(|(name, _)| *name == role);
                    let choices: Vec<Roles> = match decided {
                        Some(pair) => vec![vec![*pair]],
                        None => modules(role).into_iter().map(|m| vec![(role, m)]).collect(),
                    };
                    combinations = grown(&combinations, &choices);
                }
                for roles in combinations {
                    let modules = roles.into_iter().map(|(_, module)| module).collect();
                    let (kernel, workgroup, form) = (self, None, Form::Whole);
                    let selection = Selection { kernel, body, modules, workgroup, form };
                    all.insert(selection.name(), selection);
                }
            }
        }
        all.into_values().collect()
    }
}

impl Selection {
    /// What a device must offer to run it, in the words of the shader checks; empty: WebGPU's defaults.
    pub fn capabilities(&self) -> Vec<&'static str> {
        match self.body.needs {
            Needs::F16 => vec!["f16"],
            Needs::CooperativeF32 => vec![COOPERATIVE, "subgroups"],
            Needs::CooperativeF16 => vec![COOPERATIVE, "subgroups", "f16"],
            Needs::Subgroup(_) => vec!["subgroups"],
            Needs::Nothing if self.modules.iter().any(|m| m.contains("subgroup")) => {
                vec!["subgroups"]
            }
            Needs::Nothing => Vec::new(),
        }
    }
}

impl Caps {
    /// The variant that this device runs of each kernel in `kernels`, for all that data may decide:
    /// `linear_fwd weight_nf4 aligned` → `linear_fwd[baseline+weight_nf4]`.
    pub fn variants(&self, kernels: &[&'static Kernel]) -> BTreeMap<String, String> {
        let mut chosen = BTreeMap::new();
        for kernel in kernels {
            for context in kernel.contexts() {
                let Ok(selection) = self.select(kernel, &context) else { continue };
                // Of 16 bits only what is gained by them.
                if context.contains(&HALF) && !selection.body.needs.half() {
                    continue;
                }
                chosen.insert(kernel.context(&context), selection.name());
            }
        }
        chosen
    }
}
