use crate::harness::{Case, Check, cases as harness_cases, floats, nan, noise, random, words};
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{Dense, LinearBwd, LinearFwd, LinearGrad, Matrix, Storage};
use wgpu_lora::quant::{Nf4Matrix, Nf4Scales};

fn packed(bytes: &[u8]) -> Vec<u32> {
    let word = |c: &[u8]| c.iter().rev().fold(0u32, |w, &b| w << 8 | u32::from(b));
    bytes.chunks(4).map(word).collect()
}

/// Storage 0…4: f32, f16, bf16, NF4 with f32 scales, NF4 with 8-bit scales.
fn matrix(gpu: &Gpu, rows: usize, cols: usize, storage: usize) -> Matrix {
    let values = noise(rows * cols, "w");
    let up = |name: &str, w: &[u32]| words(gpu, name, &[w.len()], w);
    let dense =
        |kind: Dense, bytes: Vec<u8>| Matrix::dense(rows, cols, kind, up("w", &packed(&bytes)));
    let half = |f: &dyn Fn(f32) -> u16| values.iter().flat_map(|&v| f(v).to_le_bytes()).collect();
    match storage {
        0 => dense(Dense::F32, values.iter().flat_map(|v| v.to_le_bytes()).collect()),
        1 => dense(Dense::F16, half(&|v| half::f16::from_f32(v).to_bits())),
        2 => dense(Dense::BF16, half(&|v| half::bf16::from_f32(v).to_bits())),
        _ => {
            let nf4 = Nf4Matrix::quantize(rows, cols, &values, storage == 4).unwrap();
            let w = up("w", &packed(&nf4.packed));
            let (scales, nested, storage) = match nf4.scales {
                Nf4Scales::Single { absmax } => {
                    let scales = floats(gpu, "scales", &[absmax.len()], &absmax);
                    (scales.clone(), scales, Storage::Nf4Single)
                }
                Nf4Scales::Double { codes, nested_absmax, offset, code_book } => {
                    let nested: Vec<f32> = code_book.into_iter().chain(nested_absmax).collect();
                    let nested = floats(gpu, "nested", &[nested.len()], &nested);
                    (up("scales", &packed(&codes)), nested, Storage::Nf4Double { offset })
                }
            };
            Matrix { rows, cols, storage, w, scales, nested }
        }
    }
}

fn fwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k, storage] = sizes else { return Err("sizes".into()) };
    let (x, w) = (random(gpu, "x", &[m, k]), matrix(gpu, n, k, storage));
    let y = nan(gpu, "y", &[m, n]);
    let op = LinearFwd { x: &x, w: &w, y: &y, first: 0, accumulate: false, scale: 1.0 };
    check(&op, &[&LinearFwd { scale: 1.001, ..op }])?;
    let y = random(gpu, "y", &[m, n + 3]);
    let op = LinearFwd { x: &x, w: &w, y: &y, first: 2, accumulate: true, scale: 0.5 };
    check(&op, &[&LinearFwd { first: 1, ..op }, &LinearFwd { accumulate: false, ..op }])
}

fn bwd(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k, storage] = sizes else { return Err("sizes".into()) };
    let (dy, w) = (random(gpu, "dy", &[m, n + 3]), matrix(gpu, n, k, storage));
    let dx = nan(gpu, "dx", &[m, k]);
    let op = LinearBwd { dy: &dy, first: 2, w: &w, dx: &dx, accumulate: false, scale: 1.0 };
    check(&op, &[&LinearBwd { first: 1, ..op }])?;
    let dx = random(gpu, "dx", &[m, k]);
    let op = LinearBwd { dx: &dx, accumulate: true, scale: 0.5, ..op };
    check(&op, &[&LinearBwd { accumulate: false, ..op }, &LinearBwd { scale: 0.51, ..op }])
}

fn grad(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let &[m, n, k] = sizes else { return Err("sizes".into()) };
    let (dy, x) = (random(gpu, "dy", &[m, n]), random(gpu, "x", &[m, k]));
    let dw = random(gpu, "dw", &[n, k]);
    let op = LinearGrad { dy: &dy, x: &x, dw: &dw, scale: 2.0 };
    check(&op, &[&LinearGrad { scale: 1.99, ..op }])
}

pub fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    // (M, N, K): one of everything, tails in each direction, rows off block and word borders, a real shape.
    let shapes = [
        [1, 1, 1],
        [2, 5, 7],
        [3, 16, 64],
        [33, 70, 50],
        [65, 64, 192],
        [130, 576, 128],
        [4, 48, 36],
    ];
    for [m, n, k] in shapes {
        for storage in 0..5 {
            all.extend(harness_cases("linear_fwd", &[&[m, n, k, storage]], fwd));
            all.extend(harness_cases("linear_bwd", &[&[m, n, k, storage]], bwd));
        }
        all.extend(harness_cases("linear_grad", &[&[m, n, k]], grad));
    }
    all
}
