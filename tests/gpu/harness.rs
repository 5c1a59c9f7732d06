//! Runs an operation's cases: outputs start as the case says (NaN where they are overwritten),
//! guard words behind every tensor stay untouched, a second run is bit-equal although its grid is
//! cut into parts, the device equals the twin, and the comparison rejects each of the case's wrong
//! operations.

use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use wgpu_lora::Result;
use wgpu_lora::gpu::{Elem, Gpu, GpuOptions, Host, HostBuffers, Op, Policy, Tensor, difference};
use wgpu_lora::kernels;

/// What a case's body gets: the device, and a function to call with the operation under test and
/// operations that compute something else on the same tensors.
pub type Check<'a> = &'a mut dyn FnMut(&dyn Op, &[&dyn Op]) -> Result<(), String>;
type Body = fn(&Gpu, &[usize], Check) -> Result<(), String>;

#[derive(Clone)]
pub struct Case {
    pub kernel: &'static str,
    pub sizes: Vec<usize>,
    pub body: Body,
}

impl Case {
    /// `linear_fwd::3x64x64`.
    pub fn name(&self) -> String {
        let sizes: Vec<String> = self.sizes.iter().map(ToString::to_string).collect();
        format!("{}::{}", self.kernel, sizes.join("x"))
    }
}

/// One case per list of sizes.
pub fn cases(kernel: &'static str, sizes: &[&[usize]], body: Body) -> Vec<Case> {
    sizes.iter().map(|s| Case { kernel, sizes: s.to_vec(), body }).collect()
}

const GUARD: u32 = 0xDEAD_BEEF;
const GUARD_WORDS: usize = 64;

/// A tensor followed by guard words.
pub fn guarded(gpu: &Gpu, name: &str, dims: &[usize], elem: Elem, words: &[u32]) -> Tensor {
    let n: usize = dims.iter().product();
    assert_eq!(n, words.len(), "{name}");
    let whole = gpu.tensor(name, &[n + GUARD_WORDS], elem).unwrap();
    let mut filled = words.to_vec();
    filled.resize(n + GUARD_WORDS, GUARD);
    gpu.write_words(&whole, 0, &filled).unwrap();
    whole.view(dims).unwrap()
}

/// A float tensor followed by guard words.
pub fn floats(gpu: &Gpu, name: &str, dims: &[usize], values: &[f32]) -> Tensor {
    guarded(gpu, name, dims, Elem::F32, bytemuck::cast_slice(values))
}

/// A word tensor followed by guard words.
pub fn words(gpu: &Gpu, name: &str, dims: &[usize], values: &[u32]) -> Tensor {
    guarded(gpu, name, dims, Elem::U32, values)
}

/// Reproducible values in (-1, 1), different for each name.
pub fn random(gpu: &Gpu, name: &str, dims: &[usize]) -> Tensor {
    floats(gpu, name, dims, &noise(dims.iter().product(), name))
}

/// NaN everywhere: an output that must be overwritten.
pub fn nan(gpu: &Gpu, name: &str, dims: &[usize]) -> Tensor {
    floats(gpu, name, dims, &vec![f32::NAN; dims.iter().product()])
}

/// Reproducible values in (-1, 1).
pub fn noise(n: usize, name: &str) -> Vec<f32> {
    let seed = name.bytes().fold(17u32, |h, b| h.wrapping_mul(31).wrapping_add(u32::from(b)));
    (0..n as u32)
        .map(|i| {
            let mut h = i.wrapping_mul(0x9E37_79B9) ^ seed.wrapping_mul(0x85EB_CA6B);
            h = (h ^ (h >> 16)).wrapping_mul(0x7FEB_352D);
            h = (h ^ (h >> 15)).wrapping_mul(0x846C_A68B);
            ((h ^ (h >> 16)) >> 8) as f32 / 8_388_608.0 - 1.0
        })
        .collect()
}

fn read(gpu: &Gpu, t: &Tensor) -> Vec<u32> {
    pollster::block_on(gpu.read_words(&t.view(&[t.capacity()]).unwrap())).unwrap()
}

/// A workgroup or a few take as long, so that most grids are cut.
const SLICE: Duration = Duration::from_nanos(500);

/// The same for large tensors, whose grid would be cut into thousands of parts: each copies what it
/// reads from images.
fn slice(tensors: &[&Tensor]) -> Duration {
    let largest = tensors.iter().map(|tensor| tensor.len()).max().unwrap_or_default();
    SLICE * (largest >> 16).max(1) as u32
}

fn check(gpu: &Gpu, op: &dyn Op, wrong: &[&dyn Op]) -> Result<(), String> {
    let tensors = op.tensors();
    let before: Vec<Vec<u32>> = tensors.iter().map(|t| read(gpu, t)).collect();
    let run = |slice: Option<Duration>| -> Result<Vec<Vec<u32>>, String> {
        for (t, words) in tensors.iter().zip(&before) {
            gpu.write_words(&t.view(&[words.len()]).unwrap(), 0, words)
                .map_err(|e| e.to_string())?;
        }
        let rec = gpu.recorder("test");
        let mut rec = match slice {
            None => rec.with_whole_bodies(),
            Some(slice) => rec.with_slice(slice),
        };
        rec.record(op).map_err(|e| e.to_string())?;
        pollster::block_on(rec.finish()).map_err(|e| e.to_string())?;
        Ok(tensors.iter().map(|t| read(gpu, t)).collect())
    };
    let (first, second) = (run(None)?, run(Some(slice(&tensors)))?);
    if first != second {
        return Err("a run in parts differs".into());
    }
    // A wrong operation may bind other tensors: those it shares are found by name.
    let host = |op: &dyn Op, rows: &[Vec<u32>]| {
        let words = |t: &Tensor| match tensors.iter().position(|u| u.name() == t.name()) {
            Some(i) => rows[i][..t.len()].to_vec(),
            None => read(gpu, t)[..t.len()].to_vec(),
        };
        HostBuffers(op.tensors().into_iter().map(|t| Host(words(t))).collect())
    };
    let device = host(op, &first);
    let worst = |op: &dyn Op| {
        let mut twin = host(op, &before);
        op.twin(&mut twin);
        let outputs = op.kernel().bindings.iter().enumerate().filter(|(_, b)| b.1.writes());
        outputs
            .map(|(i, _)| difference(&device.0[i], &twin.0[i], tensors[i].elem()))
            .fold(0f32, f32::max)
    };
    let selection = gpu.caps().select(op.kernel(), &op.context()).map_err(|e| e.to_string())?;
    let error = worst(op);
    println!("{} error {error:.2e} bound {:.0e}", selection.name(), op.bound());
    if error.is_nan() || error > op.bound() {
        return Err(format!("{}: error {error:e}, bound {:e}", selection.name(), op.bound()));
    }
    for (i, wrong) in wrong.iter().enumerate() {
        let error = worst(*wrong);
        if error <= op.bound() {
            return Err(format!("wrong operation {i} passes with error {error:e}"));
        }
    }
    for (t, words) in tensors.iter().zip(&first) {
        if words[t.len()..].iter().any(|&w| w != GUARD) {
            return Err(format!("{} wrote behind the end of `{}`", selection.name(), t.name()));
        }
    }
    Ok(())
}

/// Runs an operation, and its twin on what its tensors held before: the largest difference of an
/// output.
pub fn difference_to_twin(gpu: &Gpu, op: &dyn Op) -> Result<f32> {
    let tensors = op.tensors();
    let host = |t: &&Tensor| pollster::block_on(gpu.read_words(t)).map(Host);
    let mut twin = HostBuffers(tensors.iter().map(host).collect::<Result<_>>()?);
    let mut rec = gpu.recorder("test");
    rec.record(op)?;
    rec.submit()?;
    op.twin(&mut twin);
    let mut worst = 0f32;
    for (i, _) in op.kernel().bindings.iter().enumerate().filter(|(_, b)| b.1.writes()) {
        worst = worst.max(difference(&host(&tensors[i])?, &twin.0[i], tensors[i].elem()));
    }
    Ok(worst)
}

/// A device for each policy under which an adapter runs a variant that it ran under none before it:
/// together they run all that the adapter can. A body that is added to a kernel's table is met here
/// without a word more.
pub fn devices(open: impl Fn(Policy) -> Gpu) -> Vec<Gpu> {
    let mut met = BTreeSet::new();
    let names = ["auto"].into_iter().chain(Policy::names(kernels::ALL));
    let gpus = names.map(|name| open(Policy::named(name, kernels::ALL).expect("a known name")));
    gpus.filter(|gpu| {
        let before = met.len();
        met.extend(gpu.caps().variants(kernels::ALL).into_values());
        met.len() > before
    })
    .collect()
}

/// A trial for each case; the devices are opened by the first that runs.
pub fn trials(families: Vec<Vec<Case>>) -> Vec<Trial> {
    let open = || {
        let adapter = std::env::var("WGPU_LORA_DEVICE").ok();
        let gpu = |policy| {
            let options = GpuOptions { policy, adapter: adapter.clone(), ..Default::default() };
            pollster::block_on(Gpu::with(options)).unwrap_or_else(|e| panic!("{e}"))
        };
        devices(gpu)
    };
    let gpus = Arc::new(LazyLock::new(open));
    families
        .into_iter()
        .flatten()
        .map(|case| {
            let gpus = gpus.clone();
            Trial::test(case.name(), move || {
                // A variant that several policies choose is tested once, with all of the case's
                // calls.
                let mut seen = Vec::new();
                for gpu in gpus.iter() {
                    let mut here = Vec::new();
                    let mut judge = |op: &dyn Op, wrong: &[&dyn Op]| {
                        let name = gpu
                            .caps()
                            .select(op.kernel(), &op.context())
                            .map_err(|e| e.to_string())?
                            .name();
                        if seen.contains(&name) {
                            return Ok(());
                        }
                        here.push(name);
                        check(gpu, op, wrong)
                    };
                    (case.body)(gpu, &case.sizes, &mut judge).map_err(Failed::from)?;
                    seen.extend(here);
                }
                Ok(())
            })
        })
        .collect()
}
