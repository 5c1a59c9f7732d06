//! Kernels against their CPU twins on the device at hand, in the variants that a model will run: the
//! drivers of other people's machines cannot be tested beforehand.

use std::collections::BTreeSet;

use crate::gpu::{Access, Elem, Gpu, Host, Op, Reading, difference};
use crate::kernels::ALL;
use crate::kernels::cases::{CASES, Inputs};
use crate::model::{Model, Precision};
use crate::{Error, Result};

/// Which kernels to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those between a prompt and its next tokens.
    Answer,
    /// All others.
    Rest,
}

/// Between a prompt and its next tokens.
const ANSWER: &[&str] = &[
    "embed_fwd",
    "rms_norm_fwd",
    "linear_fwd",
    "linear_few",
    "rope",
    "attention_fwd",
    "attention_decode",
    "attention_gather",
    "swiglu_fwd",
    "add",
    "gather_rows",
    "copy_rows",
];

/// One variant's verdict.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Check {
    /// `linear_fwd[baseline+weight_nf4_quads]`.
    pub variant: String,
    /// Largest difference from the twin, relative to the largest magnitude of the output.
    pub error: f32,
    /// What the arithmetic explains.
    pub bound: f32,
    /// Whether they agree.
    pub ok: bool,
}

/// An output that is being read back, and what the twin says.
struct Pending {
    variant: String,
    reading: Reading,
    expected: Host,
    elem: Elem,
    bound: f32,
}

/// Runs the kernels of `scope` that `model` needs, each with small reproducible inputs, and compares every
/// output with the twin's. A DoRA adapter's own kernels belong to the answer while one is active.
///
/// **Errors** [`Error::Device`] if the driver refuses a kernel; disagreement is a [`Check`], no error.
pub async fn run(gpu: &Gpu, model: &Model, scope: Scope) -> Result<Vec<Check>> {
    let (weights, linears) = (model.weight_modules(), model.linear_modules());
    let dora = model.adapter().is_ok_and(|adapter| adapter.config().use_dora);
    let answers = |name: &str| ANSWER.contains(&name) || (dora && name.starts_with("dora_"));
    let mut seen = BTreeSet::new();
    let mut checks: Vec<Check> = Vec::new();
    for case in CASES.iter().filter(|case| answers(case.kernel) == (scope == Scope::Answer)) {
        let inputs = Inputs::new(gpu).with_half(model.precision() == Precision::Mixed);
        let [m, n, mut k] = case.small;
        if case.kernel.starts_with("attention") {
            k = model.config().head_dim;
        }
        let mut pending = Vec::new();
        (case.run)(&inputs, [m, n, k], &mut |op| {
            if uses(op, &weights, &linears)
                && seen.insert(gpu.caps().select(op.kernel(), &op.roles())?.name())
            {
                begin(gpu, &inputs, op, &mut pending)?;
            }
            Ok(())
        })?;
        for one in pending {
            let device = Host(one.reading.finish().await?);
            let error = difference(&device, &one.expected, one.elem);
            let (variant, bound) = (one.variant, one.bound);
            let ok = error <= bound;
            match checks.last_mut().filter(|last| last.variant == variant) {
                Some(last) => {
                    last.error = last.error.max(error);
                    last.ok &= ok;
                }
                None => checks.push(Check { variant, error, bound, ok }),
            }
        }
    }
    Ok(checks)
}

/// Every kernel, for those who count: names of [`ALL`] that [`Scope::Answer`] runs, and the others.
pub fn kernels(scope: Scope) -> Vec<&'static str> {
    let names = ALL.iter().map(|kernel| kernel.name);
    names.filter(|name| ANSWER.contains(name) == (scope == Scope::Answer)).collect()
}

/// The first disagreement as an error for those who must not go on.
///
/// **Errors** [`Error::Device`] names the kernel.
pub fn require(checks: &[Check]) -> Result<()> {
    match checks.iter().find(|check| !check.ok) {
        None => Ok(()),
        Some(Check { variant, error, bound, .. }) => Err(Error::Device {
            during: "the self-test".into(),
            why: format!("{variant} differs from its CPU twin by {error:e}, allowed are {bound:e}"),
        }),
    }
}

/// Whether the operation reads its weights as the model keeps them, and if it adds LoRA's branch or makes its input
/// itself, as the model keeps its linear layers or LoRA's A.
fn uses(op: &dyn Op, weights: &BTreeSet<&str>, linears: &BTreeSet<&str>) -> bool {
    let roles = op.roles();
    let has = |role| roles.iter().any(|(name, _)| *name == role);
    roles.iter().filter(|(role, _)| *role == "weight").all(|(_, module)| match *module {
        "weight_f32" if !has("branch") => true,
        module if has("branch") || has("input") => linears.contains(module),
        module => weights.contains(module),
    })
}

fn begin(gpu: &Gpu, inputs: &Inputs, op: &dyn Op, pending: &mut Vec<Pending>) -> Result<()> {
    let variant = gpu.caps().select(op.kernel(), &op.roles())?.name();
    let mut rec = gpu.recorder("self-test");
    rec.record(op)?;
    rec.submit()?;
    let twin = inputs.twin(op);
    for (i, tensor) in op.tensors().into_iter().enumerate() {
        if matches!(op.kernel().bindings[i].1, Access::Write | Access::Update) {
            pending.push(Pending {
                variant: variant.clone(),
                reading: gpu.begin_read(tensor),
                expected: twin.0[i].clone(),
                elem: tensor.elem(),
                bound: op.bound(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kernel_is_in_one_of_the_two_halves() {
        let (answer, rest) = (kernels(Scope::Answer), kernels(Scope::Rest));
        assert_eq!(answer.len() + rest.len(), ALL.len());
        assert_eq!(answer.len(), ANSWER.len(), "a name in ANSWER is no kernel");
    }

    #[test]
    fn a_disagreement_is_an_error_that_names_the_kernel() {
        let check = |ok| Check { variant: "add[baseline]".into(), error: 0.5, bound: 1e-5, ok };
        assert!(require(&[check(true)]).is_ok());
        let error = require(&[check(true), check(false)]).unwrap_err().to_string();
        assert!(error.contains("add[baseline]") && error.contains("5e-1"), "{error}");
    }
}
