use crate::harness::{Case, Check, cases as harness_cases, floats, nan, noise, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{
    Branch, Dense, DoraNorm, Dropout, Input, LinearBwd, LinearFwd, LinearGrad, LoraDown,
    LoraDownBwd, LoraUpBwd, Mask, Matrix, Nf4Words, Share, words_of,
};
use wgpu_lora::quant::{Nf4Matrix, dynamic8_code};

/// Storage 0…4: f32, f16, bf16, NF4 with f32 scales, NF4 with 8-bit scales.
pub fn matrix(gpu: &Gpu, rows: usize, cols: usize, storage: usize) -> Matrix {
    let values = noise(rows * cols, "w");
    let up = |name: &str, w: &[u32]| words(gpu, name, &[w.len()], w);
    let table = gpu.table("table", &dynamic8_code(true)).unwrap();
    let dense = |kind: Dense, bytes: Vec<u8>| {
        Matrix::dense(rows, cols, kind, up("w", &words_of(&bytes)), table.clone())
    };
    let half = |f: &dyn Fn(f32) -> u16| values.iter().flat_map(|&v| f(v).to_le_bytes()).collect();
    match storage {
        0 => dense(Dense::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        1 => dense(Dense::F16, half(&|v| half::f16::from_f32(v).to_bits())),
        2 => dense(Dense::BF16, half(&|v| half::bf16::from_f32(v).to_bits())),
        _ => {
            let nf4 = Nf4Matrix::quantize(rows, cols, &values, storage == 4).unwrap();
            let Nf4Words { w, scales, nested, storage } = Nf4Words::of(&nf4);
            let (w, scales) = (up("w", &w), up("scales", &scales));
            let nested = match nested.len() {
                0 => w.clone(),
                n => floats(gpu, "nested", &[n], &nested),
            };
            Matrix { rows, cols, storage, w, scales, nested, table, halves: true }
        }
    }
}

const MASK: Mask = Mask { p: 0.25, seed: 7 };

fn fwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k, storage] = sizes else { return Err("sizes".into()) };
    let (x, w) = (random(gpu, "x", &[m, k]), matrix(gpu, n, k, storage));
    let y = nan(gpu, "y", &[m, n]);
    let op = LinearFwd::new(&x, &w, &y);
    check(&op, &[&LinearFwd { scale: 1.001, ..op }])?;
    let half = LinearFwd { half: true, ..op };
    check(&half, &[&LinearFwd { scale: 1.01, ..half }])?;
    let y = random(gpu, "y", &[m, n + 3]);
    let op = LinearFwd { y: &y, first: 2, accumulate: true, scale: 0.5, ..op };
    check(&op, &[&LinearFwd { first: 1, ..op }, &LinearFwd { accumulate: false, ..op }])?;
    let y = random(gpu, "y", &[m, (n + 12) / 4 * 4]);
    let op = LinearFwd { y: &y, first: 4, ..op };
    check(&op, &[&LinearFwd { first: 5, ..op }])?;
    let half = LinearFwd { half: true, ..op };
    check(&half, &[&LinearFwd { first: 5, ..half }, &LinearFwd { accumulate: false, ..half }])
}

/// Inputs that are made as they are read, and LoRA's branch.
fn fused(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k, storage] = sizes else { return Err("sizes".into()) };
    let w = matrix(gpu, n, k, storage);
    let mut values = noise(2 * m * k, "gate, up");
    values.iter_mut().for_each(|v| *v *= 4.0);
    let gate_up = floats(gpu, "gate, up", &[2, m, k], &values);
    values.rotate_left(m * k);
    let swapped = floats(gpu, "up, gate", &[2, m, k], &values);
    let (x, weight) = (random(gpu, "x", &[m, k]), random(gpu, "norm", &[k]));
    let other = random(gpu, "another norm", &[k]);
    let norm = |weight, eps| Input::Norm { weight, eps };
    for rank in [1, 5, 16] {
        let (low, b) = (random(gpu, "low", &[m, rank]), random(gpu, "b", &[n, rank]));
        let branch = |scale| Some(Branch { low: &low, b: &b, scale });
        let fresh = nan(gpu, "y", &[m, n]);
        let plain = LinearFwd { branch: branch(2.0), ..LinearFwd::new(&x, &w, &fresh) };
        check(&plain, &[&LinearFwd { branch: branch(1.99), ..plain }])?;
        let swiglu = LinearFwd { x: &gate_up, input: Input::Swiglu, branch: None, ..plain };
        check(&swiglu, &[&LinearFwd { x: &swapped, ..swiglu }])?;
        let normed = LinearFwd { input: norm(&weight, 1e-5), branch: None, ..plain };
        check(
            &normed,
            &[
                &LinearFwd { input: norm(&weight, 0.1), ..normed },
                &LinearFwd { input: norm(&other, 1e-5), ..normed },
            ],
        )?;
        let y = random(gpu, "y", &[m, (n + 12) / 4 * 4]);
        for op in [swiglu, normed] {
            let op = LinearFwd { branch: branch(0.5), y: &y, first: 4, accumulate: true, ..op };
            check(
                &op,
                &[
                    &LinearFwd { accumulate: false, ..op },
                    &LinearFwd { branch: None, ..op },
                    &LinearFwd { scale: 0.5, ..op },
                ],
            )?;
        }
    }
    Ok(())
}

/// LoRA's branch in products of many rows.
fn branched(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k, storage] = sizes else { return Err("sizes".into()) };
    let (x, w) = (random(gpu, "x", &[m, k]), matrix(gpu, n, k, storage));
    for rank in [1, 5, 16, 36] {
        let (low, b) = (random(gpu, "low", &[m, rank]), random(gpu, "b", &[n, rank]));
        let branch = |scale| Some(Branch { low: &low, b: &b, scale });
        let fresh = nan(gpu, "y", &[m, n]);
        let plain = LinearFwd { branch: branch(2.0), ..LinearFwd::new(&x, &w, &fresh) };
        let half = LinearFwd { half: true, ..plain };
        check(&plain, &[&LinearFwd { branch: branch(1.99), ..plain }])?;
        check(&half, &[&LinearFwd { branch: branch(1.5), ..half }])?;
        let y = random(gpu, "y", &[m, (n + 12) / 4 * 4]);
        for op in [plain, half] {
            let op = LinearFwd { branch: branch(0.5), y: &y, first: 4, accumulate: true, ..op };
            check(
                &op,
                &[
                    &LinearFwd { accumulate: false, ..op },
                    &LinearFwd { branch: None, ..op },
                    &LinearFwd { scale: 0.5, ..op },
                    &LinearFwd { first: 5, ..op },
                ],
            )?;
        }
        // A B below f16's range, beside as small a product.
        let tiny: Vec<f32> = noise(n * rank, "tiny").iter().map(|v| v * 1e-9).collect();
        let tiny = floats(gpu, "tiny", &[n, rank], &tiny);
        let branch = |scale| Some(Branch { low: &low, b: &tiny, scale });
        let op = LinearFwd { branch: branch(2.0), scale: 1e-9, ..half };
        check(&op, &[&LinearFwd { branch: branch(1.5), ..op }])?;
    }
    Ok(())
}

fn bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k, storage] = sizes else { return Err("sizes".into()) };
    let (dy, w) = (random(gpu, "dy", &[m, n + 3]), matrix(gpu, n, k, storage));
    let dx = nan(gpu, "dx", &[m, k]);
    let op =
        LinearBwd { dy: &dy, first: 2, w: &w, dx: &dx, accumulate: false, scale: 1.0, half: false };
    check(&op, &[&LinearBwd { first: 1, ..op }])?;
    let dx = random(gpu, "dx", &[m, k]);
    let op = LinearBwd { dx: &dx, accumulate: true, scale: 0.5, ..op };
    check(&op, &[&LinearBwd { accumulate: false, ..op }, &LinearBwd { scale: 0.51, ..op }])?;
    let dy = random(gpu, "dy", &[m, (n + 12) / 4 * 4]);
    let op = LinearBwd { dy: &dy, first: 4, ..op };
    check(&op, &[&LinearBwd { first: 5, ..op }])?;
    let half = LinearBwd { half: true, ..op };
    check(&half, &[&LinearBwd { first: 5, ..half }, &LinearBwd { accumulate: false, ..half }])?;
    // Gradients below f16's range.
    let tiny: Vec<f32> = noise(m * dy.dim(1), "tiny").iter().map(|v| v * 1e-9).collect();
    let (tiny, dx) = (floats(gpu, "tiny", dy.dims(), &tiny), nan(gpu, "dx", &[m, k]));
    let op = LinearBwd { dy: &tiny, dx: &dx, accumulate: false, ..half };
    check(&op, &[&LinearBwd { scale: 0.51, ..op }])
}

fn grad(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k] = sizes else { return Err("sizes".into()) };
    let (dy, x) = (random(gpu, "dy", &[m, n]), random(gpu, "x", &[m, k]));
    let dw = random(gpu, "dw", &[n, k]);
    let op = LinearGrad { dy: &dy, x: &x, dw: &dw, scale: 2.0, mask: None };
    check(&op, &[&LinearGrad { scale: 1.99, ..op }])?;
    let op = LinearGrad { mask: Some(MASK), ..op };
    check(&op, &[&LinearGrad { mask: None, ..op }])
}

fn lora_down(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, r, k] = sizes else { return Err("sizes".into()) };
    let (x, a) = (random(gpu, "x", &[m, k]), random(gpu, "a", &[r, k]));
    let low = nan(gpu, "low", &[m, r]);
    let op = LoraDown { x: &x, a: &a, mask: None, low: &low };
    check(&op, &[&LoraDown { mask: Some(MASK), ..op }])?;
    let op = LoraDown { mask: Some(MASK), ..op };
    check(&op, &[&LoraDown { mask: Some(Mask { p: 0.26, ..MASK }), ..op }])
}

fn lora_down_bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, r, k] = sizes else { return Err("sizes".into()) };
    let (dlow, a) = (random(gpu, "dlow", &[m, r]), random(gpu, "a", &[r, k]));
    let (dx, other) = (random(gpu, "dx", &[m, k]), random(gpu, "other", &[m, r]));
    let op = LoraDownBwd { dlow: &dlow, a: &a, mask: None, dx: &dx };
    check(&op, &[&LoraDownBwd { dlow: &other, ..op }])?;
    let op = LoraDownBwd { mask: Some(MASK), ..op };
    check(&op, &[&LoraDownBwd { dlow: &other, ..op }, &LoraDownBwd { mask: None, ..op }])
}

fn dropout(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (x, y) = (random(gpu, "x", sizes), random(gpu, "y", sizes));
    for part in [Share::Kept, Share::Rest] {
        let op = Dropout { x: &x, mask: MASK, part, accumulate: true, y: &y };
        check(&op, &[&Dropout { mask: Mask { seed: MASK.seed + 1, ..MASK }, ..op }])?;
    }
    let fresh = nan(gpu, "fresh", sizes);
    let op = Dropout { x: &x, mask: MASK, part: Share::Kept, accumulate: false, y: &fresh };
    check(&op, &[&Dropout { part: Share::Rest, ..op }])
}

fn lora_up_bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, r, n] = sizes else { return Err("sizes".into()) };
    let (dy, b) = (random(gpu, "dy", &[m, n]), random(gpu, "b", &[n, r]));
    let dlow = nan(gpu, "dlow", &[m, r]);
    let op = LoraUpBwd { dy: &dy, b: &b, scale: 2.0, dlow: &dlow };
    check(&op, &[&LoraUpBwd { scale: 1.99, ..op }])
}

fn dora_norm(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[n, k, r, storage] = sizes else { return Err("sizes".into()) };
    let (w, norm) = (matrix(gpu, n, k, storage), random(gpu, "norm", &[n + 3]));
    let (a, b) = (random(gpu, "a", &[r, k]), random(gpu, "b", &[n + 3, r]));
    let op = DoraNorm { w: &w, first: 2, a: &a, b: &b, scale: 0.5, norm: &norm };
    check(&op, &[&DoraNorm { first: 1, ..op }, &DoraNorm { scale: 0.51, ..op }])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    // (M, N, K): one of everything, tails in each direction, rows off block and word borders, a
    // real shape.
    let shapes = [
        [1, 1, 1],
        [2, 5, 7],
        [3, 16, 64],
        [33, 70, 50],
        [65, 64, 192],
        [130, 576, 128],
        [4, 48, 36],
        [7, 12, 16],
        [37, 20, 40],
        [50, 36, 8],
        // Few rows.
        [1, 20, 64],
        [2, 36, 192],
        [3, 132, 320],
        [4, 40, 72],
        [1, 18, 64],
        [1, 8, 16320],
    ];
    for [m, n, k] in shapes {
        for storage in 0..5 {
            let name = if m <= LinearFwd::FEW { "linear_few" } else { "linear_fwd" };
            all.extend(harness_cases(name, &[&[m, n, k, storage]], fwd));
            if m <= LinearFwd::FEW {
                all.extend(harness_cases("linear_few::fused", &[&[m, n, k, storage]], fused));
            } else {
                all.extend(harness_cases("linear_fwd::branch", &[&[m, n, k, storage]], branched));
            }
            all.extend(harness_cases("linear_bwd", &[&[m, n, k, storage]], bwd));
        }
        all.extend(harness_cases("linear_grad", &[&[m, n, k]], grad));
    }
    for sizes in [[65, 576, 16], [37, 16, 576], [30, 68, 20]] {
        all.extend(harness_cases("linear_grad", &[&sizes], grad));
    }
    // (M, R, K or N).
    let skinny: &[&[usize]] = &[
        &[1, 1, 1],
        &[3, 16, 64],
        &[33, 6, 50],
        &[5, 4, 40],
        &[65, 16, 192],
        &[37, 20, 72],
        &[70, 48, 576],
    ];
    all.extend(harness_cases("lora_down", skinny, lora_down));
    all.extend(harness_cases("lora_down_bwd", skinny, lora_down_bwd));
    let sizes: &[&[usize]] = &[&[9, 3], &[3, 37], &[257, 576]];
    all.extend(harness_cases("dropout", sizes, dropout));
    all.extend(harness_cases("lora_up_bwd", skinny, lora_up_bwd));
    for storage in 0..5 {
        let sizes: &[&[usize]] =
            &[&[1, 1, 1, storage], &[9, 50, 5, storage], &[70, 128, 8, storage]];
        all.extend(harness_cases("dora_norm", sizes, dora_norm));
    }
    all.extend(harness_cases("dora_norm", &[&[2, 8192, 66, 0]], dora_norm));
    all
}
