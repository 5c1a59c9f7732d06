//! burn's f32 product on its wgpu backend: `peer-burn M N K [SECONDS]`. Prints one JSON object a
//! line. The first products are not timed: they compile and tune.

use std::time::Instant;

use burn::backend::Wgpu;
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};

fn main() {
    let numbers: Vec<usize> = std::env::args().skip(1).filter_map(|a| a.parse().ok()).collect();
    let &[m, n, k, ..] = numbers.as_slice() else {
        eprintln!("usage: peer-burn M N K [SECONDS]");
        std::process::exit(2);
    };
    let budget = numbers.get(3).copied().unwrap_or(10) as f64;
    let device = Default::default();
    let random = |rows, cols| {
        Tensor::<Wgpu, 2>::random([rows, cols], Distribution::Uniform(-1.0, 1.0), &device)
    };
    let (x, w) = (random(m, k), random(k, n));
    let product = || {
        let clock = Instant::now();
        let y = x.clone().matmul(w.clone());
        // One element back, so that the product has run.
        let _ = y.slice([0..1, 0..1]).into_data();
        clock.elapsed().as_secs_f64()
    };
    for _ in 0..3 {
        product();
    }
    let start = Instant::now();
    let mut seconds = Vec::new();
    while seconds.len() < 3 || start.elapsed().as_secs_f64() < budget && seconds.len() < 30 {
        seconds.push(product());
    }
    Wgpu::<f32, i32>::sync(&device).ok();
    seconds.sort_by(f64::total_cmp);
    let median = seconds[seconds.len() / 2];
    println!(
        "{{\"name\": \"burn f32 matmul\", \"shape\": \"{m}x{n}x{k}\", \"ms\": {:.3}, \"gflops\": {:.2}, \"runs\": {}}}",
        median * 1e3,
        2e-9 * (m * n * k) as f64 / median,
        seconds.len()
    );
}
