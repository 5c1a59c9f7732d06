//! What the data of an operation decide about its kernel's variant: how a weight is stored, whether
//! shapes are aligned, the size of a head, whether 16 bits are allowed. In the composer's words:
//! roles, and the modules that fill them.

use std::collections::BTreeSet;

use super::body::{Body, Kernel};
use super::library::library;

/// `(role, module)` pairs as [`super::Op::roles`] gives them.
pub(super) type Roles = Vec<(&'static str, &'static str)>;

/// The choice of an operation whose factors may be rounded to 16 bits. It opens bodies and closes
/// none.
pub const HALF: (&str, &str) = ("precision", "half");

/// Roles that an operation need not choose, and the module of those that do not, which does
/// nothing. A body with such a role takes any of its modules, one without it only this.
pub(super) const FREE: [(&str, &str); 3] =
    [("input", "input_plain"), ("input4", "input4_plain"), ("branch", "branch_none")];

fn is_free(role: &str) -> bool {
    FREE.iter().any(|(free, _)| *free == role)
}

pub(super) fn is_idle(module: &str) -> bool {
    FREE.iter().any(|(_, idle)| *idle == module)
}

impl Body {
    /// Whether this body can be composed with the modules that the data decide.
    pub fn accepts(&self, roles: &[(&str, &str)]) -> bool {
        let allowed = !self.needs.half() || roles.contains(&HALF);
        // What is read one by one or by fours is one choice.
        fn kind(role: &str) -> &str {
            role.trim_end_matches('4')
        }
        let own = self.roles();
        let takes = |role: &str| own.iter().any(|own| kind(own) == kind(role));
        let mut others = roles.iter().filter(|role| **role != HALF);
        allowed
            && others.all(|&(role, module)| match is_free(role) {
                true => is_idle(module) || takes(role),
                false => self.takes.is_empty() || self.takes.contains(&module),
            })
    }
}

/// Modules of `shaders/lib` that fill a role.
pub(super) fn modules(role: &str) -> Vec<&'static str> {
    let prefix = format!("{role}_");
    library().iter().map(|(name, _)| *name).filter(|name| name.starts_with(&prefix)).collect()
}

/// Each of `all` with each of `more` behind it.
pub(super) fn grown(all: &[Roles], more: &[Roles]) -> Vec<Roles> {
    all.iter().flat_map(|a| more.iter().map(move |b| [a.as_slice(), b].concat())).collect()
}

impl Kernel {
    /// What the data of an operation may decide: the weight's storage, whether shapes are aligned,
    /// the size of a head; and whether 16 bits are allowed. As far as this kernel's bodies care.
    pub(super) fn contexts(&self) -> Vec<Roles> {
        let roles: BTreeSet<&str> = self.bodies.iter().flat_map(|body| body.roles()).collect();
        let asks =
            |word: &str| self.bodies.iter().any(|b| b.takes.iter().any(|o| o.contains(word)));
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
        let heads = [modules("head"), vec!["head_any"]].concat();
        for (decides, role, choices) in [
            (asks("aligned"), "shape", vec!["aligned", "ragged"]),
            (asks("thin"), "ratio", vec!["thin", "wide"]),
            (roles.contains("mask"), "mask", modules("mask")),
            (roles.contains("head"), "head", heads),
        ] {
            let choices: Vec<Roles> = choices.into_iter().map(|of| vec![(role, of)]).collect();
            all = if decides { grown(&all, &choices) } else { all };
        }
        if self.bodies.iter().any(|body| body.needs.half()) {
            all = grown(&all, &[vec![], vec![HALF]]);
        }
        all
    }

    /// What a table of variants calls this kernel and the modules that the data decide. That of
    /// rows follows from that of the weight, and those of free roles decide on no body.
    pub(crate) fn context(&self, roles: &[(&str, &str)]) -> String {
        let counts = |role: &str| role != "rows" && !is_free(role);
        let shown = roles.iter().filter(|(role, _)| counts(role)).map(|(_, module)| *module);
        [self.name].into_iter().chain(shown).collect::<Vec<_>>().join(" ")
    }
}
