//! Sums and row selection.

use super::cases::{Case, Each, Inputs};
use super::{Length, elements, fours, params};
use crate::gpu::{Context, HostBuffers, Kernel, Op, Selection, Takes, Tensor, Work};
use crate::{Result, reference};

static ADD: Kernel = kernel!(
    rows, "add", [x: Read, y: Update],
    baseline tile Each([1, 1]);
    "vec4": on Software where |a| a.slow_loads, takes Takes::ALIGNED, images [x, y], fours true, tile Each([1, 4]);
);
static GATHER_ROWS: Kernel = kernel!(rows, "gather_rows", [x: Read, index: Read, y: Write]);

/// Sum in place: `y += x`.
///
/// **Shapes** `x, y` alike. **Errors** [`Shape`](crate::Error::Shape) if they are not.
/// **Source** residual connection. **Twin** [`reference::add`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct Add<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for Add<'_> {
    fn kernel(&self) -> &'static Kernel {
        &ADD
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Length::of(self.y))
    }
    fn context(&self) -> Context {
        fours(self.y.len())
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        self.y.expect(ADD.name, self.x.dims())?;
        selection.body.tile.matrix(1, self.y.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        reference::add(x.f32(), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: self.y.len() as u64, bytes: 3 * self.y.bytes() }
    }
}

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct GatherParams {
    l: u32,
    n: u32,
    d: u32,
}

/// Row selection: `y[l] = x[index[l]]`, or zeros where `index[l]` is no row of `x` (`0xffffffff` by
/// convention). With the inverse index it scatters: each row of `y` asks where it comes from.
///
/// **Shapes** `x (N, D)`, `index (L)` words, `y (L, D)`. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** selection of the rows that have a target. **Twin** [`reference::gather_rows`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct GatherRows<'a> {
    pub x: &'a Tensor,
    pub index: &'a Tensor,
    pub y: &'a Tensor,
}

impl Op for GatherRows<'_> {
    fn kernel(&self) -> &'static Kernel {
        &GATHER_ROWS
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.index, self.y]
    }
    fn params(&self) -> Vec<u8> {
        let (n, d) = (self.x.dim(0) as u32, self.x.dim(1) as u32);
        params(&GatherParams { l: self.index.len() as u32, n, d })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [_, d] = self.x.matrix(GATHER_ROWS.name)?;
        let l = self.index.len();
        self.index.expect(GATHER_ROWS.name, &[l])?;
        self.y.expect(GATHER_ROWS.name, &[l, d])?;
        elements(l * d)
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, index, y] = host.all();
        reference::gather_rows(x.f32(), index.u32(), self.x.dim(1), y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 0, bytes: self.index.bytes() + 2 * self.y.bytes() }
    }
    fn bound(&self) -> f32 {
        1e-7
    }
}

pub(super) const CASES: &[Case] = &[
    Case::new(&ADD, [512, 2048, 1], &[[7, 100, 1], [7, 99, 1]], add),
    Case::new(&GATHER_ROWS, [128, 2048, 512], &[[7, 100, 9]], gather_rows),
];

fn add(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&Add { x: &i.random("x", &[m, n])?, y: &i.random("y", &[m, n])? })
}

fn gather_rows(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, index) = (i.random("x", &[k, n])?, i.indices("index", m, k)?);
    each(&GatherRows { x: &x, index: &index, y: &i.zeros("y", &[m, n])? })
}
