//! Operations in one dispatch give, bit for bit, what they give one after the other, and touch
//! nothing else.

use std::collections::BTreeSet;

use crate::harness::{devices, noise};
use crate::linear::matrix;
use libtest_mimic::{Failed, Trial};
use wgpu_lora::Result;
use wgpu_lora::gpu::{Context, Elem, Gpu, GpuOptions, HostBuffers, Kernel, Op, Selection, Tensor};
use wgpu_lora::kernels::{Add, Branch, Input, LinearFwd, LoraDown, Mask, Matrix};

/// Tensors of the given sizes in one buffer, with room between them that nobody may write.
struct Slab {
    whole: Tensor,
    parts: Vec<(usize, Vec<usize>)>,
}

impl Slab {
    fn of(gpu: &Gpu, name: &str, shapes: &[Vec<usize>]) -> Slab {
        let (mut at, mut parts) = (64, Vec::new());
        for dims in shapes {
            parts.push((at, dims.clone()));
            at = (at + dims.iter().product::<usize>() + 1).next_multiple_of(64);
        }
        let whole = gpu.tensor(name, &[at], Elem::F32).unwrap();
        gpu.write(&whole, &noise(at, name)).unwrap();
        Slab { whole, parts }
    }

    fn tensor(&self, i: usize) -> Tensor {
        let (at, dims) = &self.parts[i];
        self.whole.slice(*at, dims, "part").unwrap()
    }

    fn filled(gpu: &Gpu, name: &str, tensors: &[&Tensor]) -> Slab {
        let shapes: Vec<_> = tensors.iter().map(|t| t.dims().to_vec()).collect();
        let slab = Slab::of(gpu, name, &shapes);
        for (i, t) in tensors.iter().enumerate() {
            let words = pollster::block_on(gpu.read_words(t)).unwrap();
            gpu.write_words(&slab.tensor(i), 0, &words).unwrap();
        }
        slab
    }
}

/// The matrices with their words in common buffers.
fn stacked(gpu: &Gpu, all: &[Matrix]) -> Vec<Matrix> {
    let slab = |name: &str, of: fn(&Matrix) -> &Tensor| {
        Slab::filled(gpu, name, &all.iter().map(of).collect::<Vec<_>>())
    };
    let (w, scales) = (slab("w", |m| &m.w), slab("scales", |m| &m.scales));
    let nested = slab("nested", |m| &m.nested);
    let place = |(i, matrix): (usize, &Matrix)| {
        let (w, scales, nested) = (w.tensor(i), scales.tensor(i), nested.tensor(i));
        Matrix { w, scales, nested, table: all[0].table.clone(), ..matrix.clone() }
    };
    all.iter().enumerate().map(place).collect()
}

/// Runs them so and so, together in so many dispatches; `outputs` is what they write.
fn compare(
    gpu: &Gpu,
    ops: &[&dyn Op],
    outputs: &Slab,
    dispatches: u64,
) -> Result<BTreeSet<String>> {
    let before = pollster::block_on(gpu.read_words(&outputs.whole))?;
    let mut results = Vec::new();
    let mut names = BTreeSet::new();
    for together in [false, true] {
        gpu.write_words(&outputs.whole, 0, &before)?;
        gpu.start_profile();
        let mut rec = gpu.recorder("test").with_whole_bodies();
        match together {
            true => rec.record_together(ops)?,
            false => ops.iter().try_for_each(|op| rec.record(*op))?,
        }
        pollster::block_on(rec.finish())?;
        results.push(pollster::block_on(gpu.read_words(&outputs.whole))?);
        let profile = gpu.take_profile();
        // Without timestamps nobody counts.
        if let Some(profile) = profile.filter(|_| together) {
            let calls: u64 = profile.rows.values().map(|row| row.calls).sum();
            assert_eq!(calls, dispatches, "{:?}", profile.rows.keys());
            names.extend(profile.rows.into_keys());
        }
    }
    assert!(results[0] == results[1], "{names:?} differs");
    let mut untouched = results[0].clone();
    for (at, dims) in &outputs.parts {
        let n: usize = dims.iter().product();
        assert!(untouched[*at..at + n] != before[*at..at + n], "{names:?} wrote nothing");
        untouched[*at..at + n].copy_from_slice(&before[*at..at + n]);
    }
    assert!(untouched == before, "{names:?} wrote elsewhere");
    Ok(names)
}

fn products(
    gpu: &Gpu,
    [m, k]: [usize; 2],
    rows: &[usize],
    storage: usize,
) -> Result<BTreeSet<String>> {
    let alone: Vec<Matrix> = rows.iter().map(|&n| matrix(gpu, n, k, storage)).collect();
    let w = stacked(gpu, &alone);
    let inputs = Slab::of(gpu, "x", &vec![vec![m, k]; rows.len()]);
    let outputs = Slab::of(gpu, "y", &rows.iter().map(|&n| vec![m, n]).collect::<Vec<_>>());
    let mut names = BTreeSet::new();
    // One input for all, then one for each.
    for shared in [true, false] {
        let x: Vec<_> =
            (0..rows.len()).map(|i| inputs.tensor(if shared { 0 } else { i })).collect();
        let y: Vec<_> = (0..rows.len()).map(|i| outputs.tensor(i)).collect();
        let op = |i: usize| {
            let (x, w, y) = (&x[i], &w[i], &y[i]);
            let scale = 1.0 + i as f32;
            LinearFwd { accumulate: shared, scale, half: !shared, ..LinearFwd::new(x, w, y) }
        };
        let ops: Vec<_> = (0..rows.len()).map(op).collect();
        let ops: Vec<&dyn Op> = ops.iter().map(|op| op as &dyn Op).collect();
        names.extend(compare(gpu, &ops, &outputs, 1)?);
    }
    Ok(names)
}

/// Products with LoRA's branches; those of few rows also with inputs of their own.
fn fused(
    gpu: &Gpu,
    [m, k]: [usize; 2],
    rows: &[usize],
    storage: usize,
) -> Result<BTreeSet<String>> {
    const R: usize = 8;
    let alone: Vec<Matrix> = rows.iter().map(|&n| matrix(gpu, n, k, storage)).collect();
    let w = stacked(gpu, &alone);
    let inputs = Slab::of(gpu, "x", &[vec![2, m, k]]);
    let norms = Slab::of(gpu, "norm", &[vec![k]]);
    let low = Slab::of(gpu, "low", &vec![vec![m, R]; rows.len()]);
    let b = Slab::of(gpu, "b", &rows.iter().map(|&n| vec![n, R]).collect::<Vec<_>>());
    let outputs = Slab::of(gpu, "y", &rows.iter().map(|&n| vec![m, n]).collect::<Vec<_>>());
    let (gate_up, weight) = (inputs.tensor(0), norms.tensor(0));
    let x = gate_up.view(&[m, k])?;
    let parts: Vec<_> =
        (0..rows.len()).map(|i| (low.tensor(i), b.tensor(i), outputs.tensor(i))).collect();
    let mut names = BTreeSet::new();
    let norm = (&x, Input::Norm { weight: &weight, eps: 1e-5 });
    let (few, many) = ([norm, (&gate_up, Input::Swiglu)], [(&x, Input::Plain)]);
    for &(x, input) in if m <= LinearFwd::FEW { &few[..] } else { &many } {
        let op = |i: usize| {
            let (low, b, y) = &parts[i];
            let branch = Some(Branch { low, b, scale: 1.0 + i as f32 });
            LinearFwd { input, branch, half: true, ..LinearFwd::new(x, &w[i], y) }
        };
        let ops: Vec<_> = (0..rows.len()).map(op).collect();
        let ops: Vec<&dyn Op> = ops.iter().map(|op| op as &dyn Op).collect();
        names.extend(compare(gpu, &ops, &outputs, 1)?);
    }
    Ok(names)
}

fn ways_down(gpu: &Gpu, [m, k]: [usize; 2], ranks: &[usize], p: f32) -> Result<BTreeSet<String>> {
    let inputs = Slab::of(gpu, "x", &[vec![m, k]]);
    let down = Slab::of(gpu, "a", &ranks.iter().map(|&r| vec![r, k]).collect::<Vec<_>>());
    let outputs = Slab::of(gpu, "low", &ranks.iter().map(|&r| vec![m, r]).collect::<Vec<_>>());
    let x = inputs.tensor(0);
    let parts: Vec<_> = (0..ranks.len()).map(|i| (down.tensor(i), outputs.tensor(i))).collect();
    let mask = |i: usize| (p > 0.0).then_some(Mask { p, seed: i as u32 });
    let op = |i: usize| LoraDown { x: &x, a: &parts[i].0, mask: mask(i), low: &parts[i].1 };
    let ops: Vec<_> = (0..parts.len()).map(op).collect();
    compare(gpu, &ops.iter().map(|op| op as &dyn Op).collect::<Vec<_>>(), &outputs, 1)
}

fn all(gpu: &Gpu) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for storage in 0..5 {
        for m in [1, 20] {
            names.extend(products(gpu, [m, 128], &[96, 32, 36], storage)?);
            names.extend(products(gpu, [m, 64], &[40, 100], storage)?);
        }
        names.extend(products(gpu, [3, 33], &[5, 7, 9], storage)?);
        names.extend(fused(gpu, [2, 128], &[96, 32, 36], storage)?);
        names.extend(fused(gpu, [1, 33], &[5, 7], storage)?);
        names.extend(fused(gpu, [20, 64], &[40, 100], storage)?);
        names.extend(fused(gpu, [9, 33], &[5, 7], storage)?);
    }
    for (m, p) in [(1, 0.0), (40, 0.0), (40, 0.25)] {
        names.extend(ways_down(gpu, [m, 72], &[16, 8, 24], p)?);
        names.extend(ways_down(gpu, [m, 33], &[3, 5], p)?);
    }
    Ok(names)
}

/// An operation whose device does another one.
struct Mistaken<'a> {
    device: &'a dyn Op,
    twin: &'a dyn Op,
}

impl Op for Mistaken<'_> {
    fn kernel(&self) -> &'static Kernel {
        self.device.kernel()
    }
    fn tensors(&self) -> Vec<&Tensor> {
        self.device.tensors()
    }
    fn context(&self) -> Context {
        self.device.context()
    }
    fn params(&self) -> Vec<u8> {
        self.device.params()
    }
    fn dispatch(&self, selection: &Selection) -> Result<[u32; 3]> {
        self.device.dispatch(selection)
    }
    fn twin(&self, host: &mut HostBuffers) {
        self.twin.twin(host);
    }
}

/// In verify mode each operation of a dispatch is held against its own twin.
fn verified(gpu: &Gpu) -> Result<()> {
    let inputs = Slab::of(gpu, "x", &[vec![3, 40]]);
    let down = Slab::of(gpu, "a", &vec![vec![8, 40]; 3]);
    let outputs = Slab::of(gpu, "low", &vec![vec![3, 8]; 3]);
    let x = inputs.tensor(0);
    let parts: Vec<_> = (0..3).map(|i| (down.tensor(i), outputs.tensor(i))).collect();
    let op = |i: usize, seed: u32| {
        let (a, low) = &parts[i];
        LoraDown { x: &x, a, mask: Some(Mask { p: 0.5, seed }), low }
    };
    let right = [op(0, 0), op(1, 1), op(2, 2)];
    let wrong = [op(0, 1), op(1, 2), op(2, 0)];
    let record = |ops: [&dyn Op; 3]| gpu.recorder("test").record_together(&ops);
    record([&right[0], &right[1], &right[2]])?;
    for i in 0..3 {
        let mistaken = Mistaken { device: &wrong[i], twin: &right[i] };
        let mut ops: [&dyn Op; 3] = [&right[0], &right[1], &right[2]];
        ops[i] = &mistaken;
        let error = record(ops).unwrap_err().to_string();
        assert!(error.contains("together") && error.contains("`low`"), "{error}");
    }
    Ok(())
}

/// What does not join has dispatches of its own.
fn apart(gpu: &Gpu) -> Result<()> {
    let [x, y] = ["x", "y"].map(|name| Slab::of(gpu, name, &vec![vec![100]; 2]));
    let tensors: Vec<_> = (0..2).map(|i| (x.tensor(i), y.tensor(i))).collect();
    let [first, second] = [0, 1].map(|i| Add { x: &tensors[i].0, y: &tensors[i].1 });
    compare(gpu, &[&first, &second], &y, 2).map(drop)
}

fn open(options: GpuOptions) -> std::result::Result<Gpu, Failed> {
    let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
    Ok(pollster::block_on(Gpu::with(GpuOptions { adapter, ..options }))
        .map_err(|e| e.to_string())?)
}

pub fn trials() -> Vec<Trial> {
    let run = || -> std::result::Result<(), Failed> {
        let mut names = BTreeSet::new();
        let device = |policy| {
            open(GpuOptions { policy, ..Default::default() }).unwrap_or_else(|e| panic!("{e:?}"))
        };
        for gpu in devices(device) {
            apart(&gpu).map_err(|e| e.to_string())?;
            names.extend(all(&gpu).map_err(|e| e.to_string())?);
        }
        println!("{names:#?}");
        assert!(names.iter().all(|name| name.contains("together")), "{names:?}");
        Ok(())
    };
    let verify = || -> std::result::Result<(), Failed> {
        let gpu = open(GpuOptions { verify: true, ..Default::default() })?;
        Ok(verified(&gpu).map_err(|e| e.to_string())?)
    };
    vec![Trial::test("together", run), Trial::test("together::verified", verify)]
}
