//! Cases of products.

use super::bwd::{BWD, GRAD};
use super::fwd::{FEW_ROWS, FWD};
use super::*;
use crate::Result;
use crate::kernels::Mask;
use crate::kernels::cases::{Case, Each, Inputs};

/// LoRA's rank where a product has its branch.
const R: usize = 16;

pub(in crate::kernels) const CASES: &[Case] = &[
    Case::new(&FWD, [512, 2048, 2048], &[[33, 72, 128], [33, 72, 120], [33, 72, 127]], linear_fwd),
    Case::new(
        &FEW_ROWS,
        [1, 2048, 2048],
        &[[3, 72, 128], [1, 72, 128], [3, 72, 120], [1, 72, 120], [3, 72, 127], [1, 72, 127]],
        linear_few,
    ),
    Case::new(
        &BWD,
        [512, 2048, 2048],
        &[[33, 72, 128], [1, 72, 128], [33, 72, 120], [1, 72, 120], [33, 72, 127], [1, 72, 127]],
        linear_bwd,
    ),
    Case::new(
        &GRAD,
        [512, 16, 2048],
        &[[33, 24, 128], [1, 24, 128], [33, 24, 120], [1, 24, 120], [33, 24, 127], [1, 24, 127]],
        linear_grad,
    ),
];

/// Of many rows or of few.
fn products(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, k])?, i.zeros("y", &[m, n])?);
    let (low, b) = (i.random("low", &[m, R])?, i.random("b", &[n, R])?);
    for &storage in i.storages {
        let w = i.matrix(n, k, storage)?;
        for branch in [None, Some(Branch { low: &low, b: &b, scale: 2.0 })] {
            let op = LinearFwd { branch, ..LinearFwd::new(&x, &w, &y) };
            let half = LinearFwd { half: true, ..op };
            if branch.is_none() || (op.adds_branch(i.gpu())? && half.adds_branch(i.gpu())?) {
                i.both(&op, &half, each)?;
            }
        }
    }
    Ok(())
}

/// Also with LoRA's branch, where the device adds it as it makes the product.
fn linear_fwd(i: &Inputs, size: [usize; 3], each: Each) -> Result<()> {
    if size[0] > LinearFwd::FEW { products(i, size, each) } else { Ok(()) }
}

/// Also what only products of few rows do: an input of their own.
fn linear_few(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    if m > LinearFwd::FEW {
        return Ok(());
    }
    products(i, [m, n, k], each)?;
    let (x, y) = (i.random("x", &[m, k])?, i.zeros("y", &[m, n])?);
    let (gate_up, norm) = (i.random("gate, up", &[2, m, k])?, i.random("norm", &[k])?);
    let (low, b) = (i.random("low", &[m, R])?, i.random("b", &[n, R])?);
    let branch = Branch { low: &low, b: &b, scale: 2.0 };
    let inputs = [(&x, Input::Norm { weight: &norm, eps: 1e-5 }), (&gate_up, Input::Swiglu)];
    for &storage in i.storages {
        let w = i.matrix(n, k, storage)?;
        for (x, input) in inputs {
            for branch in [None, Some(branch)] {
                each(&LinearFwd { input, branch, ..LinearFwd::new(x, &w, &y) })?;
            }
        }
    }
    Ok(())
}

fn linear_bwd(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (dy, dx) = (i.random("dy", &[m, n])?, i.zeros("dx", &[m, k])?);
    for &storage in i.storages {
        let w = i.matrix(n, k, storage)?;
        let op = LinearBwd {
            dy: &dy,
            first: 0,
            w: &w,
            dx: &dx,
            accumulate: false,
            scale: 1.0,
            half: false,
        };
        i.both(&op, &LinearBwd { half: true, ..op }, each)?;
    }
    Ok(())
}

/// The gradients of A `(R, K)` and B `(K, R)`, with and without dropout.
fn linear_grad(i: &Inputs, [m, r, k]: [usize; 3], each: Each) -> Result<()> {
    let (dlow, x) = (i.random("dlow", &[m, r])?, i.random("x", &[m, k])?);
    let (da, db) = (i.zeros("da", &[r, k])?, i.zeros("db", &[k, r])?);
    for mask in [None, Some(Mask { p: 0.1, seed: 7 })] {
        each(&LinearGrad { dy: &dlow, x: &x, dw: &da, scale: 1.0, mask })?;
        each(&LinearGrad { dy: &x, x: &dlow, dw: &db, scale: 1.0, mask })?;
    }
    Ok(())
}
