//! One operation against its CPU twin.

use crate::gpu::{Elem, Gpu, Host, Op, Reading, difference};
use crate::kernels::cases::Inputs;
use crate::{Error, Result};

/// One variant's verdict.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
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

impl Check {
    /// The worse of two: the one with more of its bound.
    pub(super) fn worse(self, other: Check) -> Check {
        let share =
            |check: &Check| if check.ok { check.error / check.bound } else { f32::INFINITY };
        if share(&other) > share(&self) { other } else { self }
    }
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

/// An output that is being read back, and what the twin says.
struct Output {
    reading: Reading,
    expected: Host,
    elem: Elem,
}

/// An operation that runs, and its twin's results.
pub(super) struct Trial {
    variant: String,
    outputs: Vec<Output>,
    bound: f32,
}

impl Trial {
    /// Runs `op`, and the twin of `meant`, which is the same but where a fault is planted.
    pub(super) fn begin(
        inputs: &Inputs,
        op: &dyn Op,
        meant: &dyn Op,
        variant: String,
    ) -> Result<Trial> {
        let gpu: &Gpu = inputs.gpu();
        let mut rec = gpu.recorder("self-test");
        rec.record(op)?;
        rec.submit()?;
        let twin = inputs.twin(meant);
        let bindings = op.kernel().bindings.iter().zip(op.tensors()).zip(twin.0);
        let written = bindings.filter(|(((_, access), _), _)| access.writes());
        let output = |((_, tensor), expected): ((&(&str, _), &_), _)| Output {
            reading: gpu.begin_read(tensor),
            expected,
            elem: crate::gpu::Tensor::elem(tensor),
        };
        Ok(Trial { variant, outputs: written.map(output).collect(), bound: meant.bound() })
    }

    /// The worst of its outputs.
    pub(super) async fn finish(self) -> Result<Check> {
        let Trial { variant, outputs, bound } = self;
        let mut error = 0f32;
        for Output { reading, expected, elem } in outputs {
            let one = difference(&Host(reading.finish().await?), &expected, elem);
            error = if one.is_nan() { f32::INFINITY } else { error.max(one) };
        }
        Ok(Check { variant, error, bound, ok: error <= bound })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disagreement_is_an_error_that_names_the_kernel() {
        let check = |ok| Check { variant: "add[baseline]".into(), error: 0.5, bound: 1e-5, ok };
        assert!(require(&[check(true)]).is_ok());
        let error = require(&[check(true), check(false)]).unwrap_err().to_string();
        assert!(error.contains("add[baseline]") && error.contains("5e-1"), "{error}");
    }

    #[test]
    fn the_worse_of_two_has_more_of_its_bound() {
        let check = |error, bound| Check { variant: "x".into(), error, bound, ok: error <= bound };
        assert_eq!(check(1e-6, 1e-5).worse(check(2e-6, 1e-3)).bound, 1e-5);
        assert_eq!(check(1e-6, 1e-5).worse(check(9e-6, 1e-5)).error, 9e-6);
        assert!(!check(1.0, 1e-5).worse(check(9e-6, 1e-5)).ok);
    }
}
