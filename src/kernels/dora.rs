//! Weight-decomposed adapters: the output of `W + s·B·A` per column, at a learned magnitude.

use super::cases::{Case, Each, Inputs};
use super::{elements, params};
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::{Result, reference};

static SCALE: Kernel =
    kernel!(lora, "dora_scale", [z: Read, magnitude: Read, norm: Read, y: Write]);
static BWD: Kernel = kernel!(
    lora, "dora_bwd",
    [dy: Read, z: Read, magnitude: Read, norm: Read, dz: Write, d_magnitude: Update]
);

/// The two axes of a matrix.
#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    rows: u32,
    columns: u32,
}

impl Params {
    fn of(matrix: &Tensor) -> Params {
        Params { rows: matrix.dim(0) as u32, columns: matrix.dim(1) as u32 }
    }
}

/// DoRA forward: `y = z · magnitude / norm` per column.
///
/// **Shapes** `z, y (M, N)`, `magnitude, norm (N)`. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** Liu et al. 2024, eq. 5. **Twin** [`reference::dora_scale`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct DoraScale<'a> {
    pub z: &'a Tensor,
    pub magnitude: &'a Tensor,
    pub norm: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for DoraScale<'_> {
    fn kernel(&self) -> &'static Kernel {
        &SCALE
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.z, self.magnitude, self.norm, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Params::of(self.z))
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [m, n] = self.z.matrix(SCALE.name)?;
        self.magnitude.expect(SCALE.name, &[n])?;
        self.norm.expect(SCALE.name, &[n])?;
        self.y.expect(SCALE.name, &[m, n])?;
        elements(m * n)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [z, magnitude, norm, y] = host.all();
        reference::dora_scale(z.f32(), magnitude.f32(), norm.f32(), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 2 * self.z.len() as u64, bytes: 2 * self.z.bytes() + 2 * self.norm.bytes() }
    }
}

/// DoRA backward: `dz = dy · magnitude / norm`, `d_magnitude[n] += Σ_m dy·z / norm`. The norm
/// counts as a constant, as in the paper and in PEFT.
///
/// **Shapes** `dy, z, dz (M, N)`, `magnitude, norm, d_magnitude (N)`.
/// **Errors** [`Shape`](crate::Error::Shape). **Source** Liu et al. 2024, § 4.3.
/// **Twin** [`reference::dora_bwd`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct DoraBwd<'a> {
    pub dy: &'a Tensor,
    pub z: &'a Tensor,
    pub magnitude: &'a Tensor,
    pub norm: &'a Tensor,
    pub dz: &'a Tensor,
    pub d_magnitude: &'a Tensor,
}

impl Op for DoraBwd<'_> {
    fn kernel(&self) -> &'static Kernel {
        &BWD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.dy, self.z, self.magnitude, self.norm, self.dz, self.d_magnitude]
    }
    fn params(&self) -> Vec<u8> {
        params(&Params::of(self.dy))
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [m, n] = self.dy.matrix(BWD.name)?;
        self.z.expect(BWD.name, &[m, n])?;
        self.dz.expect(BWD.name, &[m, n])?;
        for tensor in [self.magnitude, self.norm, self.d_magnitude] {
            tensor.expect(BWD.name, &[n])?;
        }
        elements(n)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [dy, z, magnitude, norm, dz, d_magnitude] = host.all();
        let (magnitude, norm) = (magnitude.f32(), norm.f32());
        let (dz, d_magnitude) = (dz.f32_mut(), d_magnitude.f32_mut());
        reference::dora_bwd(dy.f32(), z.f32(), magnitude, norm, dz, d_magnitude);
    }
    fn work(&self) -> Work {
        Work { flops: 3 * self.z.len() as u64, bytes: 3 * self.z.bytes() + 4 * self.norm.bytes() }
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&SCALE, [512, 2048, 1], &[[7, 100, 1]], dora_scale),
    Case::new(&BWD, [512, 2048, 1], &[[7, 100, 1]], dora_bwd),
];

fn dora_scale(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (magnitude, norm) = (i.random("magnitude", &[n])?, i.positive("norm", &[n])?);
    let (z, y) = (i.random("z", &[m, n])?, i.zeros("y", &[m, n])?);
    each(&DoraScale { z: &z, magnitude: &magnitude, norm: &norm, y: &y })
}

fn dora_bwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (magnitude, norm) = (i.random("magnitude", &[n])?, i.positive("norm", &[n])?);
    let (dy, z) = (i.random("dy", &[m, n])?, i.random("z", &[m, n])?);
    let (dz, d_magnitude) = (i.zeros("dz", &[m, n])?, i.zeros("d_magnitude", &[n])?);
    let (magnitude, norm, d_magnitude) = (&magnitude, &norm, &d_magnitude);
    each(&DoraBwd { dy: &dy, z: &z, magnitude, norm, dz: &dz, d_magnitude })
}
