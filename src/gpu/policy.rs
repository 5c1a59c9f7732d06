//! What was asked for: all variants that are known to be fast, only the baseline, or one by name.

use super::body::Kernel;
use crate::{Error, Result};

/// Which of a kernel's variants to run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// The fastest that the adapter is known to run.
    #[default]
    Auto,
    /// Only what WebGPU's default limits and features allow.
    Baseline,
    /// The named body or module where a kernel has it and the adapter can run it, else `Auto`.
    Prefer(String),
}

/// What else may be preferred by name: modules, and where bodies read what they may read from
/// images.
const OTHERS: [&str; 4] = ["buffers", "images", "reduce_subgroup", "reduce_workgroup"];

/// The body that does what one of an older version of the program did.
pub(super) fn renamed(body: &str) -> &str {
    match body {
        "cooperative_f16" => "cooperative",
        "tile_nf4" => "tile",
        "vec_dense" => "vec",
        body => body,
    }
}

/// Whether a body of this name is for matrix units. wgpu calls them experimental, so they are
/// opened only for these.
pub(super) fn needs_units(body: &str) -> bool {
    body == "cooperative"
}

impl Policy {
    /// The policy of a name: empty or `auto`, `baseline`, or the body of any of `kernels` or the
    /// module to prefer.
    ///
    /// **Errors** [`Error::Invalid`] for another name, with those that there are.
    pub fn named(name: &str, kernels: &[&'static Kernel]) -> Result<Policy> {
        let known = Policy::names(kernels);
        match name {
            "" | "auto" => Ok(Policy::Auto),
            "baseline" => Ok(Policy::Baseline),
            name if known.contains(&name) => Ok(Policy::Prefer(name.to_owned())),
            name => {
                let why =
                    format!("`{name}` is no kernel variant; there are auto, {}", known.join(", "));
                Err(Error::invalid("kernel variant", why))
            }
        }
    }

    /// The policy that a checkpoint recorded. Its bodies may be of another version of the program:
    /// those that are gone count for nothing, as [`Policy::Prefer`] says.
    pub fn recorded(name: &str) -> Policy {
        match name {
            "auto" => Policy::Auto,
            // What the baseline was called at first.
            "baseline" | "f32+workgroup" => Policy::Baseline,
            name => Policy::Prefer(renamed(name).to_owned()),
        }
    }

    /// What [`Policy::named`] takes, `auto` apart, in alphabetical order.
    pub fn names(kernels: &[&'static Kernel]) -> Vec<&'static str> {
        let bodies = kernels.iter().flat_map(|kernel| kernel.bodies).map(|body| body.name);
        let mut names: Vec<&str> = bodies.chain(OTHERS).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Its name, which [`Policy::recorded`] takes.
    pub fn name(&self) -> &str {
        match self {
            Policy::Auto => "auto",
            Policy::Baseline => "baseline",
            Policy::Prefer(name) => name,
        }
    }

    /// Whether it names a body for matrix units.
    pub(super) fn asks_for_units(&self) -> bool {
        self.preferred().is_some_and(needs_units)
    }

    /// What it prefers.
    pub(super) fn preferred(&self) -> Option<&str> {
        match self {
            Policy::Prefer(name) => Some(name),
            Policy::Auto | Policy::Baseline => None,
        }
    }
}
