// table
//! One case per kernel: which tensors an operation of size M × N × K needs. M are rows (tokens), N
//! outputs, K inputs; kernels without a product use M rows of N.

pub use super::inputs::{BF16, Each, F32, Inputs, NF4, STORAGES};
use crate::Result;
use crate::gpu::Op;
use crate::kernels::*;

/// A kernel's operations, their usual size, and a small one on which the twin is quick.
pub struct Case {
    /// The kernel's name.
    pub kernel: &'static str,
    /// M × N × K of a real model.
    pub usual: [usize; 3],
    /// M × N × K on which the twin is quick.
    pub small: [usize; 3],
    /// Makes the tensors and hands over each operation.
    pub run: fn(&Inputs, [usize; 3], Each) -> Result<()>,
}

impl Case {
    /// Small sizes that together meet every body: few rows and many, rows of whole blocks, of whole
    /// eights, of whole fours, and of none of these, every head.
    pub fn sizes_of_every_body(&self) -> Vec<[usize; 3]> {
        let [m, n, k] = self.small;
        let mut all = vec![self.small];
        if self.kernel.starts_with("attention") {
            all.extend([16, 64, 128].map(|head_dim| [m, n, head_dim]));
        }
        if self.kernel.starts_with("linear") {
            all.extend([k, k - 8, k - 1].into_iter().flat_map(|k| [[m, n, k], [1, n, k]]).skip(1));
        }
        if self.kernel.starts_with("lora_") {
            all.push([m, n, k - 1]);
        }
        match self.kernel {
            "dora_norm" => all.push([m, n, k - 8]),
            "attention_delta" | "rope" => all.push([m, n, k - 2]),
            "add"
            | "cross_entropy_fused"
            | "rms_norm_fwd"
            | "rms_norm_bwd"
            | "swiglu_fwd"
            | "swiglu_bwd" => all.push([m, n - 1, k]),
            _ => {}
        }
        all
    }
}

/// LoRA's rank where a product has its branch.
const R: usize = 16;

/// Also with LoRA's branch, where the device adds it as it makes the product.
fn linear_fwd(i: &Inputs, size: [usize; 3], each: Each) -> Result<()> {
    if size[0] > LinearFwd::FEW { products(i, size, each) } else { Ok(()) }
}

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

fn lora_down(i: &Inputs, [m, r, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, a) = (i.random("x", &[m, k])?, i.random("a", &[r, k])?);
    let low = i.zeros("low", &[m, r])?;
    for mask in [None, Some(Mask { p: 0.1, seed: 7 })] {
        each(&LoraDown { x: &x, a: &a, mask, low: &low })?;
    }
    Ok(())
}

fn lora_down_bwd(i: &Inputs, [m, r, k]: [usize; 3], each: Each) -> Result<()> {
    let (dlow, a) = (i.random("dlow", &[m, r])?, i.random("a", &[r, k])?);
    let dx = i.zeros("dx", &[m, k])?;
    for mask in [None, Some(Mask { p: 0.1, seed: 7 })] {
        each(&LoraDownBwd { dlow: &dlow, a: &a, mask, dx: &dx })?;
    }
    Ok(())
}

fn dropout(i: &Inputs, [m, k, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, k])?, i.zeros("y", &[m, k])?);
    for (part, accumulate) in [(Share::Kept, false), (Share::Rest, true)] {
        each(&Dropout { x: &x, mask: Mask { p: 0.1, seed: 7 }, part, accumulate, y: &y })?;
    }
    Ok(())
}

fn lora_up_bwd(i: &Inputs, [m, r, n]: [usize; 3], each: Each) -> Result<()> {
    let (dy, b) = (i.random("dy", &[m, n])?, i.random("b", &[n, r])?);
    each(&LoraUpBwd { dy: &dy, b: &b, scale: 1.0, dlow: &i.zeros("dlow", &[m, r])? })
}

fn dora_norm(i: &Inputs, [r, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (a, b) = (i.random("a", &[r, k])?, i.random("b", &[n, r])?);
    let norm = i.zeros("norm", &[n])?;
    for &storage in i.storages {
        let w = i.matrix(n, k, storage)?;
        each(&DoraNorm { w: &w, first: 0, a: &a, b: &b, scale: 0.5, norm: &norm })?;
    }
    Ok(())
}

fn embed_fwd(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (ids, y) = (i.indices("ids", m, n)?, i.zeros("y", &[m, k])?);
    let all = [Dense::F32, Dense::F16, Dense::BF16].into_iter().enumerate();
    for (storage, dtype) in all.filter(|(storage, _)| i.storages.contains(storage)) {
        let w = i.matrix(n, k, storage)?.w;
        each(&EmbedFwd { ids: &ids, w: &w, dtype, first_row: 0, rows: n, d: k, y: &y })?;
    }
    Ok(())
}

fn rms_norm_fwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, w) = (i.random("x", &[m, n])?, i.random("w", &[n])?);
    let (y, rstd) = (i.zeros("y", &[m, n])?, i.zeros("rstd", &[m])?);
    each(&RmsNormFwd { x: &x, w: &w, eps: 1e-5, y: &y, rstd: &rstd })
}

fn rms_norm_bwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, dy) = (i.random("x", &[m, n])?, i.random("dy", &[m, n])?);
    let (w, rstd) = (i.random("w", &[n])?, i.positive("rstd", &[m])?);
    let dx = i.zeros("dx", &[m, n])?;
    each(&RmsNormBwd { x: &x, w: &w, rstd: &rstd, dy: &dy, dx: &dx, accumulate: false })
}

fn rope(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let half = (k / 2).max(1);
    let (cos, sin) = (i.random("cos", &[m, half])?, i.random("sin", &[m, half])?);
    let (x, positions) = (i.random("x", &[m, n * half * 2])?, i.indices("positions", m, m)?);
    let op = Rope { x: &x, cos: &cos, sin: &sin, positions: &positions, heads: n, inverse: false };
    each(&op)
}

fn swiglu_fwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (gate, up) = (i.random("gate", &[m, n])?, i.random("up", &[m, n])?);
    each(&SwigluFwd { gate: &gate, up: &up, y: &i.zeros("y", &[m, n])? })
}

fn swiglu_bwd(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (gate, up) = (i.random("gate", &[m, n])?, i.random("up", &[m, n])?);
    let (dgate, dup) = (i.zeros("dgate", &[m, n])?, i.zeros("dup", &[m, n])?);
    let dy = i.random("dy", &[m, n])?;
    each(&SwigluBwd { gate: &gate, up: &up, dy: &dy, dgate: &dgate, dup: &dup })
}

fn cross_entropy_fused(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (logits, labels) = (i.random("logits", &[m, n])?, i.indices("labels", m, n)?);
    let nll = i.zeros("nll", &[m])?;
    let op = CrossEntropyFused {
        logits: &logits,
        labels: &labels,
        scale: 0.1,
        gradient: true,
        nll: &nll,
    };
    each(&op)
}

fn reduce_sum(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&ReduceSum { x: &i.random("x", &[m * n])?, y: &i.zeros("y", &[8])?, slot: 1 })
}

fn sum_squares(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let partials = i.zeros("partials", &[SumSquares::partials(m * n)])?;
    each(&SumSquares { g: &i.random("g", &[m * n])?, partials: &partials })
}

fn clip_coefficient(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (partials, stats) = (i.positive("partials", &[m * n])?, i.zeros("stats", &[8])?);
    each(&ClipCoefficient { partials: &partials, stats: &stats, max_norm: 1.0 })
}

fn adamw(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let size = [m * n];
    let (g, p) = (i.random("g", &size)?, i.random("p", &size)?);
    let (first, second) = (i.random("m", &size)?, i.positive("v", &size)?);
    each(&AdamW {
        g: &g,
        p: &p,
        m: &first,
        v: &second,
        stats: &i.positive("stats", &[8])?,
        step: STEP,
    })
}

const STEP: AdamWStep = AdamWStep {
    lr: 1e-3,
    beta1: 0.9,
    beta2: 0.999,
    eps: 1e-8,
    weight_decay: 0.01,
    bias1: 0.1,
    bias2: 0.001,
};

fn adamw8bit(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let n = (m * n).next_multiple_of(AdamW8bit::BLOCK);
    let (g, p) = (i.random("g", &[n])?, i.random("p", &[n])?);
    i.keep("codes", bytemuck::cast_slice(&AdamW8bit::codes()));
    each(&AdamW8bit {
        g: &g,
        p: &p,
        m: &i.codes("m", n / 4)?,
        v: &i.codes("v", n / 4)?,
        scales: &i.positive("scales", &[n / AdamW8bit::BLOCK, 2])?,
        stats: &i.positive("stats", &[8])?,
        codes: &i.gpu.table("codes", &AdamW8bit::codes())?,
        step: STEP,
    })
}

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

fn add(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&Add { x: &i.random("x", &[m, n])?, y: &i.random("y", &[m, n])? })
}

fn add_bias(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&AddBias { bias: &i.random("bias", &[n])?, y: &i.random("y", &[m, n])? })
}

fn pack_f16(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, n])?, i.pairs("y", m * n)?);
    each(&PackF16 { x: &x, y: &y, counts: &i.words("counts", &[0; 8])?, slot: 3 })
}

fn unpack_f16(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.pairs("x", m * n)?, i.zeros("y", &[m, n])?);
    each(&UnpackF16 { x: &x, y: &y })
}

fn gather_rows(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, index) = (i.random("x", &[k, n])?, i.indices("index", m, k)?);
    each(&GatherRows { x: &x, index: &index, y: &i.zeros("y", &[m, n])? })
}

fn copy_rows(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (x, y) = (i.random("x", &[m, n])?, i.zeros("y", &[m + k, n])?);
    each(&CopyRows { x: &x, y: &y, rows: m, stride: m + k, first: k })
}

fn ceiling_copy(i: &Inputs, [m, n, _]: [usize; 3], each: Each) -> Result<()> {
    each(&CeilingCopy { x: &i.random("x", &[m * n])?, y: &i.zeros("y", &[m * n])? })
}

/// K operations on each of M · N elements.
fn ceiling_fma(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let (n, turns) = ((m * n).next_multiple_of(192), k.next_multiple_of(8) as u32);
    let (x, y) = (i.random("x", &[n])?, i.zeros("y", &[n])?);
    let op = CeilingFma { x: &x, y: &y, turns, a: 0.875, b: 0.25, half: false };
    i.both(&op, &CeilingFma { half: true, ..op }, each)
}

fn rope_append(i: &Inputs, [m, heads, half]: [usize; 3], each: Each) -> Result<()> {
    let (kv_heads, head_dim) = (heads.div_ceil(3), 2 * half);
    let width = kv_heads * head_dim;
    let shape = AttentionShape {
        batch: 1,
        queries: m,
        keys: m + 3,
        start: 2,
        heads,
        kv_heads,
        head_dim,
        first: 0,
    };
    each(&RopeAppend {
        qkv: &i.random("qkv", &[m * (heads * head_dim + 2 * width)])?,
        k: m * heads * head_dim,
        v: m * (heads * head_dim + width),
        cos: &i.random("cos", &[m, half])?,
        sin: &i.random("sin", &[m, half])?,
        positions: &i.indices("positions", m, m)?,
        keys: &i.zeros("keys", &[m + 3, width])?,
        values: &i.zeros("values", &[m + 3, width])?,
        shape,
    })
}

/// One sequence: M queries and keys, N query heads that share N/4 key heads, K the head's
/// dimension.
fn attention(
    i: &Inputs,
    [m, n, k]: [usize; 3],
    decode: bool,
    only: &str,
    each: Each,
) -> Result<()> {
    let kv_heads = match n {
        // Llama 3.2 and SmolLM2.
        32 | 24 => 8,
        9 => 3,
        n if n.is_multiple_of(4) => n / 4,
        n => n,
    };
    let queries = if decode { 1 } else { m };
    let shape = AttentionShape {
        batch: 1,
        queries,
        keys: m,
        start: m - queries,
        heads: n,
        kv_heads,
        head_dim: k,
        first: 0,
    };
    let (wide, narrow) = ([queries, n * k], [m, kv_heads * k]);
    if decode {
        return each(&AttentionDecode {
            qkv: &i.random("qkv", &[(n + 2 * kv_heads) * k])?,
            k: n * k,
            v: (n + kv_heads) * k,
            cos: &i.random("cos", &[m, k / 2])?,
            sin: &i.random("sin", &[m, k / 2])?,
            positions: &i.indices("positions", 1, m)?,
            keys: &i.random("keys", &narrow)?,
            values: &i.random("values", &narrow)?,
            y: &i.zeros("y", &wide)?,
            shape,
        });
    }
    let (q, key, v) = (i.random("q", &wide)?, i.random("k", &narrow)?, i.random("v", &narrow)?);
    let (y, lse) = (i.zeros("y", &wide)?, i.zeros("lse", &[queries, n])?);
    let forward = AttentionFwd { q: &q, k: &key, v: &v, y: &y, lse: &lse, shape };
    if only == "fwd" {
        return each(&forward);
    }
    let (dy, delta) = (i.random("dy", &wide)?, i.zeros("delta", &[queries, n])?);
    let before = AttentionDelta { y: &y, dy: &dy, delta: &delta, shape };
    let mut rec = i.gpu.recorder("bench");
    for first in [&forward as &dyn Op, &before] {
        rec.record(first)?;
        i.twin(first);
    }
    rec.submit()?;
    let (k, lse, delta) = (&key, &lse, &delta);
    match only {
        "delta" => each(&before),
        "dq" => {
            let dq = i.zeros("dq", &wide)?;
            each(&AttentionBwdDq { q: &q, k, v: &v, dy: &dy, lse, delta, dq: &dq, shape })
        }
        _ => {
            let (dk, dv) = (i.zeros("dk", &narrow)?, i.zeros("dv", &narrow)?);
            let (dk, dv) = (&dk, &dv);
            each(&AttentionBwdDkv { q: &q, k, v: &v, dy: &dy, lse, delta, dk, dv, shape })
        }
    }
}

/// Row r of M lists r + 1 of M + 3 slots; N query heads share N/4 key heads, K is the head's
/// dimension.
fn attention_gather(i: &Inputs, [m, n, k]: [usize; 3], each: Each) -> Result<()> {
    let kv_heads = if n.is_multiple_of(4) { n / 4 } else { n };
    let slots = m + 3;
    let shape = GatherShape { rows: m, listed: m, slots, heads: n, kv_heads, head_dim: k };
    let (wide, narrow) = ([m, n * k], [slots, kv_heads * k]);
    let (q, key, v) = (i.random("q", &wide)?, i.random("k", &narrow)?, i.random("v", &narrow)?);
    // Row r lists r + 1 slots, from one that is its own; what follows is no slot.
    let list = |at: usize| {
        let (row, place) = (at / m, at % m);
        if place <= row { ((row * 5 + place) % slots) as u32 } else { u32::MAX }
    };
    let words: Vec<u32> = (0..m * m).map(list).collect();
    let index = i.words("index", &words)?.view(&[m, m])?;
    let y = i.zeros("y", &wide)?;
    each(&AttentionGather { q: &q, k: &key, v: &v, index: &index, y: &y, shape })
}

macro_rules! cases {
    ($($kernel:literal $usual:tt $small:tt $run:expr;)*) => {
        &[$(Case { kernel: $kernel, usual: $usual, small: $small, run: $run }),*]
    };
}

/// One for every kernel of [`ALL`].
pub static CASES: &[Case] = cases![
    "linear_fwd" [512, 2048, 2048] [33, 72, 128] linear_fwd;
    "linear_few" [1, 2048, 2048] [3, 72, 128] linear_few;
    "linear_bwd" [512, 2048, 2048] [33, 72, 128] linear_bwd;
    "linear_grad" [512, 16, 2048] [33, 24, 128] linear_grad;
    "lora_down" [512, 16, 2048] [33, 24, 128] lora_down;
    "lora_down_bwd" [512, 16, 2048] [33, 24, 128] lora_down_bwd;
    "dropout" [512, 2048, 1] [7, 37, 1] dropout;
    "lora_up_bwd" [512, 16, 2048] [33, 24, 128] lora_up_bwd;
    "attention_fwd" [512, 32, 64] [37, 8, 32] |i, s, e| attention(i, s, false, "fwd", e);
    "attention_delta" [512, 32, 64] [37, 8, 32] |i, s, e| attention(i, s, false, "delta", e);
    "attention_bwd_dq" [512, 32, 64] [37, 8, 32] |i, s, e| attention(i, s, false, "dq", e);
    "attention_bwd_dkv" [512, 32, 64] [37, 8, 32] |i, s, e| attention(i, s, false, "dkv", e);
    "attention_decode" [512, 32, 64] [37, 8, 32] |i, s, e| attention(i, s, true, "", e);
    "attention_gather" [128, 32, 64] [37, 8, 32] attention_gather;
    "rms_norm_fwd" [512, 2048, 1] [7, 100, 1] rms_norm_fwd;
    "rms_norm_bwd" [512, 2048, 1] [7, 100, 1] rms_norm_bwd;
    "rope" [512, 32, 64] [7, 3, 32] rope;
    "rope_append" [512, 32, 32] [7, 3, 16] rope_append;
    "swiglu_fwd" [512, 8192, 1] [7, 100, 1] swiglu_fwd;
    "swiglu_bwd" [512, 8192, 1] [7, 100, 1] swiglu_bwd;
    "embed_fwd" [512, 8192, 2048] [7, 20, 100] embed_fwd;
    "cross_entropy_fused" [64, 128256, 1] [5, 1000, 1] cross_entropy_fused;
    "reduce_sum" [1, 512, 1] [1, 100, 1] reduce_sum;
    "sum_squares" [2048, 2048, 1] [50, 100, 1] sum_squares;
    "clip_coefficient" [1, 1024, 1] [1, 100, 1] clip_coefficient;
    "adamw" [2048, 2048, 1] [50, 100, 1] adamw;
    "adamw8bit" [2048, 2048, 1] [64, 100, 1] adamw8bit;
    "dora_norm" [16, 2048, 2048] [4, 72, 128] dora_norm;
    "dora_scale" [512, 2048, 1] [7, 100, 1] dora_scale;
    "dora_bwd" [512, 2048, 1] [7, 100, 1] dora_bwd;
    "add" [512, 2048, 1] [7, 100, 1] add;
    "add_bias" [512, 2048, 1] [7, 100, 1] add_bias;
    "pack_f16" [512, 2048, 1] [7, 101, 1] pack_f16;
    "unpack_f16" [512, 2048, 1] [7, 101, 1] unpack_f16;
    "gather_rows" [128, 2048, 512] [7, 100, 9] gather_rows;
    "copy_rows" [512, 2048, 64] [7, 100, 3] copy_rows;
    "ceiling_copy" [4096, 4096, 1] [3, 100, 1] ceiling_copy;
    "ceiling_fma" [192, 1024, 2048] [192, 4, 24] ceiling_fma;
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpu::{Context, Gpu, GpuOptions};

    #[test]
    fn what_operations_decide_is_in_the_table_that_runs_record() {
        let options = GpuOptions { validate_only: true, ..GpuOptions::default() };
        let gpu = pollster::block_on(Gpu::with(options)).unwrap();
        let (inputs, table) = (Inputs::new(&gpu), gpu.caps().variants(ALL));
        for case in CASES {
            (case.run)(&inputs, case.small, &mut |op| {
                let key = op.kernel().in_context(&Context { half: false, ..op.context() });
                assert!(table.contains_key(&key), "{key}");
                Ok(())
            })
            .unwrap();
        }
    }

    #[test]
    fn every_kernel_has_a_case() {
        for kernel in crate::kernels::ALL {
            assert!(super::CASES.iter().any(|case| case.kernel == kernel.name), "{}", kernel.name);
        }
        assert_eq!(super::CASES.len(), crate::kernels::ALL.len());
    }
}
