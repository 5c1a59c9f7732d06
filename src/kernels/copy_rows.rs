//! Appending to a cache.

use super::cases::{Case, Each, Inputs};
use super::{elements, params};
use crate::Result;
use crate::gpu::{HostBuffers, Kernel, Op, Selection, Tensor, Work};
use crate::reference;

static COPY_ROWS: Kernel = kernel!(rows, "copy_rows", [x: Read, y: Update]);

#[repr(C)]
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
struct Params {
    n: u32,
    rows: u32,
    stride: u32,
    first: u32,
    width: u32,
}

/// Copies `rows` rows of each sequence to its place in a cache:
/// `y[b · stride + first + t] = x[b · rows + t]`; other rows of `y` stay.
///
/// **Shapes** `x (B·rows, C)`, `y (B·stride, C)`. **Errors** [`Shape`](crate::Error::Shape).
/// **Source** key-value caching. **Twin** [`reference::copy_rows`].
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs, reason = "the formula above names every field")]
pub struct CopyRows<'a> {
    pub x: &'a Tensor,
    pub y: &'a Tensor,
    pub rows: usize,
    pub stride: usize,
    pub first: usize,
}

impl Op for CopyRows<'_> {
    fn kernel(&self) -> &'static Kernel {
        &COPY_ROWS
    }
    fn tensors(&self) -> Vec<&Tensor> {
        vec![self.x, self.y]
    }
    fn params(&self) -> Vec<u8> {
        params(&Params {
            n: self.x.len() as u32,
            rows: self.rows as u32,
            stride: self.stride as u32,
            first: self.first as u32,
            width: self.x.dim(1) as u32,
        })
    }
    fn dispatch(&self, _: &Selection) -> Result<[u32; 3]> {
        let [n, width] = self.x.matrix(COPY_ROWS.name)?;
        let batch = n / self.rows.max(1);
        self.x.expect(COPY_ROWS.name, &[batch * self.rows, width])?;
        let stride = self.stride.max(self.first + self.rows);
        self.y.expect(COPY_ROWS.name, &[batch * stride, width])?;
        elements(self.x.len())
    }
    fn twin(&self, host: &mut HostBuffers) {
        let [x, y] = host.all();
        let (rows, stride, first) = (self.rows, self.stride, self.first);
        reference::copy_rows(x.f32(), self.x.dim(1), rows, stride, first, y.f32_mut());
    }
    fn work(&self) -> Work {
        Work { flops: 0, bytes: 2 * self.x.bytes() }
    }
}

pub(super) const CASES: &[Case] =
    &[Case::new(&COPY_ROWS, [512, 2048, 64], &[[7, 100, 3]], copy_rows)];

fn copy_rows(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, n])?, i.zeros("y", &[m + k, n])?);
    each(&CopyRows { x: &x, y: &y, rows: m, stride: m + k, first: k })
}
