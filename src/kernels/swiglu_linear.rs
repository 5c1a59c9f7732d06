//! A product with SwiGLU's output.

use super::linear::{FEW, FWD, Params, fwd_groups, roles, work};
use super::params;
use super::weight::Matrix;
use crate::gpu::{Caps, HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Result, reference};

/// [`LinearFwd`](crate::kernels::LinearFwd) of SwiGLU's output, which is never stored:
/// `y[m, n] = Σ_k silu(gate[m, k]) · up[m, k] · w[n, k]`, or `+=` with `accumulate`;
/// `silu(g) = g / (1 + exp(−g))`.
///
/// **Shapes** `gate_up (2, M, K)`: gate, then up; `w (N, K)`, `y (M, N)`. **Errors**
/// [`Shape`](crate::Error::Shape). **Source** as [`LinearFwd`](crate::kernels::LinearFwd) and
/// [`SwigluFwd`](crate::kernels::SwigluFwd). **Twin** [`reference::swiglu_fwd`], then
/// [`reference::linear_fwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct SwigluLinear<'a> {
    pub gate_up: &'a Tensor,
    pub w: &'a Matrix,
    pub y: &'a Tensor,
    pub accumulate: bool,
}

impl SwigluLinear<'_> {
    /// Rows up to which bodies are written for it.
    pub const ROWS: usize = FEW;

    /// Whether a body on this device takes it that was written for such data.
    pub fn is_fast(&self, caps: &Caps) -> bool {
        self.y.dim(0) <= FEW
            && caps.select(&FWD, &self.roles()).is_ok_and(|s| !s.body.only.is_empty())
    }
}

impl Op for SwigluLinear<'_> {
    fn kernel(&self) -> &'static Kernel {
        &FWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        let w = self.w;
        vec![self.gate_up, &w.w, &w.scales, &w.nested, &w.table, self.y]
    }
    fn roles(&self) -> Vec<(&'static str, &'static str)> {
        let mut roles = roles(self.w, self.y.dim(1), 0, false);
        roles.push(("size", if self.y.dim(0) <= FEW { "few" } else { "many" }));
        roles.extend([("input", "input_swiglu"), ("input4", "input4_swiglu")]);
        roles
    }
    fn params(&self) -> Vec<u8> {
        params(&Params {
            m: self.y.dim(0) as u32,
            n: self.w.rows as u32,
            k: self.w.cols as u32,
            stride: self.w.rows as u32,
            first: 0,
            accumulate: self.accumulate.into(),
            scale: 1.0,
            offset: self.w.offset(),
        })
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        let [m, n] = self.y.matrix(FWD.name)?;
        self.gate_up.expect(FWD.name, &[2, m, self.w.cols])?;
        self.y.expect(FWD.name, &[m, self.w.rows])?;
        fwd_groups(selection, m, n)
    }
    fn work(&self) -> Work {
        let Work { flops, bytes } = work(self.y.dim(0), self.w);
        let elements = self.gate_up.len() as u64 / 2;
        Work { flops: flops + 5 * elements, bytes: bytes + 4 * elements }
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [gate_up, w, scales, nested, table, y] = host.all();
        let w = self.w.values(w, scales, nested, table);
        let (gate, up) = gate_up.f32().split_at(gate_up.f32().len() / 2);
        let mut x = vec![0.0; gate.len()];
        reference::swiglu_fwd(gate, up, &mut x);
        let out = reference::Columns { stride: self.w.rows, first: 0 };
        reference::linear_fwd(&x, &w, self.w.cols, self.accumulate, 1.0, out, y.f32_mut());
    }
}
