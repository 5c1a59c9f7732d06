use crate::harness::{Case, Check, floats, guarded, nan, noise, random};
use wgpu_lora::gpu::Elem;
use wgpu_lora::gpu::Gpu;
use wgpu_lora::kernels::{AdamW, AdamW8bit, AdamWStep, ClipCoefficient, SumSquares};

pub fn sum_squares(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (g, other) = (random(gpu, "g", sizes), random(gpu, "other", sizes));
    let partials = nan(gpu, "partials", &[SumSquares::partials(sizes[0])]);
    let op = SumSquares { g: &g, partials: &partials };
    check(&op, &[&SumSquares { g: &other, ..op }])
}

pub fn clip_coefficient(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let n = sizes[0];
    let mut values: Vec<f32> = noise(n, "partials").iter().map(|x| x * x / n as f32).collect();
    if n == 2 {
        values[1] = f32::INFINITY;
    }
    let partials = floats(gpu, "partials", sizes, &values);
    let other = random(gpu, "other", &[n]);
    let stats = random(gpu, "stats", &[8]);
    for max_norm in [0.1, 0.0] {
        let op = ClipCoefficient { partials: &partials, stats: &stats, max_norm };
        let wrong = ClipCoefficient { max_norm: 0.2, ..op };
        let wrong: &dyn wgpu_lora::gpu::Op =
            if n == 2 { &ClipCoefficient { partials: &other, ..op } } else { &wrong };
        check(&op, &[wrong])?;
    }
    Ok(())
}

pub fn adamw(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (g, p) = (random(gpu, "g", sizes), random(gpu, "p", sizes));
    let m = random(gpu, "m", sizes);
    let squares: Vec<f32> = noise(sizes[0], "v").iter().map(|v| v * v).collect();
    let v = floats(gpu, "v", sizes, &squares);
    let stats = |name, norm| floats(gpu, name, &[8], &[norm, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let (finite, infinite) = (stats("stats", 2.0), stats("infinite", f32::INFINITY));
    let op = AdamW { g: &g, p: &p, m: &m, v: &v, stats: &finite, step: STEP };
    let skipped = AdamW { stats: &infinite, ..op };
    if sizes[0] == 65 {
        return check(&skipped, &[&op]);
    }
    let [eps, decay, bias] = wrong_steps().map(|step| AdamW { step, ..op });
    check(&op, &[&skipped, &eps, &decay, &bias])
}

const STEP: AdamWStep = AdamWStep {
    lr: 0.1,
    beta1: 0.9,
    beta2: 0.99,
    eps: 1e-2,
    weight_decay: 0.1,
    bias1: 0.19,
    bias2: 0.02,
};

fn wrong_steps() -> [AdamWStep; 3] {
    [
        AdamWStep { eps: 1e-1, ..STEP },
        AdamWStep { weight_decay: 0.0, ..STEP },
        AdamWStep { bias2: 0.03, ..STEP },
    ]
}

pub fn adamw8bit(gpu: &Gpu, sizes: &[usize], check: Check) -> Result<(), String> {
    let (n, blocks) = (sizes[0], sizes[0] / AdamW8bit::BLOCK);
    // The first block has no gradient and no past.
    let mut gradient = noise(n, "g");
    gradient[..AdamW8bit::BLOCK].fill(0.0);
    let g = floats(gpu, "g", sizes, &gradient);
    let p = random(gpu, "p", sizes);
    let codes = |name: &str| {
        let mut words: Vec<u32> = noise(n / 4, name).iter().map(|x| x.to_bits()).collect();
        words[..AdamW8bit::BLOCK / 4].fill(0);
        guarded(gpu, name, &[n / 4], Elem::Codes, &words)
    };
    let (m, v) = (codes("m"), codes("v"));
    let mut values: Vec<f32> = noise(2 * blocks, "scales").iter().map(|x| x.abs()).collect();
    values[..2].fill(0.0);
    let scales = floats(gpu, "scales", &[blocks, 2], &values);
    let stats = |name, norm| floats(gpu, name, &[8], &[norm, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    let (finite, infinite) = (stats("stats", 2.0), stats("infinite", f32::INFINITY));
    let codes = &gpu.table("codes", &AdamW8bit::codes()).map_err(|e| e.to_string())?;
    let (m, v, scales, stats) = (&m, &v, &scales, &finite);
    let op = AdamW8bit { g: &g, p: &p, m, v, scales, stats, codes, step: STEP };
    let skipped = AdamW8bit { stats: &infinite, ..op };
    if sizes[0] == 512 {
        return check(&skipped, &[&op]);
    }
    let [eps, decay, bias] = wrong_steps().map(|step| AdamW8bit { step, ..op });
    let beta = AdamW8bit { step: AdamWStep { beta2: 0.9, ..STEP }, ..op };
    match blocks {
        1 => check(&op, &[&skipped, &decay]),
        _ => check(&op, &[&skipped, &eps, &decay, &bias, &beta]),
    }
}

pub fn cases() -> Vec<Case> {
    let sizes: &[&[usize]] = &[&[1], &[4097], &[100_000], &[5_000_000]];
    let mut all = crate::harness::cases("sum_squares", sizes, sum_squares);
    let sizes: &[&[usize]] = &[&[1], &[2], &[37], &[1221]];
    all.extend(crate::harness::cases("clip_coefficient", sizes, clip_coefficient));
    // 65 elements: a step that is skipped.
    let sizes: &[&[usize]] = &[&[65], &[37], &[100_000]];
    all.extend(crate::harness::cases("adamw", sizes, adamw));
    // 512 elements: a step that is skipped.
    let sizes: &[&[usize]] = &[&[512], &[256], &[2560], &[102_400]];
    all.extend(crate::harness::cases("adamw8bit", sizes, adamw8bit));
    all
}
