//! The second quantization: block scales to 8-bit codes of the "dynamic" code book.

/// Scales that share one nested scale.
pub const NESTED_BLOCK: usize = 256;

/// bitsandbytes' 8-bit dynamic code book, ascending; `signed` for block scales and first moments of
/// the 8-bit AdamW (−0.993 … 1, entry 127 is 0), otherwise for second moments (0 … 1).
///
/// For each decade `10^(i−6)`, `i = 0..=6`: the midpoints of `2^i + 1` (unsigned: `2^(i+1) + 1`)
/// points evenly spaced over `[0.1, 1]`, with both signs when signed; and 0 and 1.
///
/// **Source** Dettmers et al. 2022 (arXiv:2110.02861), §2.2, with the roundings of
/// `create_dynamic_map`.
pub fn dynamic8_code(signed: bool) -> Vec<f32> {
    const DECADES: [f32; 7] = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0];
    let mut code = vec![0.0, 1.0];
    for (i, decade) in DECADES.into_iter().enumerate() {
        let intervals = 1usize << (i + usize::from(!signed));
        let step = f64::from((1.0f32 - 0.1) / intervals as f32);
        // torch.linspace counts the lower half from the start, the upper half from the end, each
        // point rounded once.
        let point = |k: usize| {
            if k < intervals.div_ceil(2) {
                (f64::from(0.1f32) + step * k as f64) as f32
            } else {
                (1.0 - step * (intervals - k) as f64) as f32
            }
        };
        for k in 0..intervals {
            let value = decade * ((point(k) + point(k + 1)) / 2.0);
            code.push(value);
            if signed {
                code.push(-value);
            }
        }
    }
    code.sort_by(f32::total_cmp);
    code
}

/// The entry of the ascending 256-entry `code` for `x` in −1…1, as bitsandbytes' CPU kernel chooses
/// it: the nearest to the closest of 65536 evenly spaced points, `2·⌊(x+1)/2·65535 + ½⌋/65535 − 1`.
///
/// bitsandbytes' CUDA kernel searches for the nearest to `x` itself. The two differ by one code at
/// about one value in a thousand, and by up to four below 3·10⁻⁵. This is the rule that every
/// machine can check against.
///
/// Returns 0 if `code` does not have 256 entries.
pub fn nearest_code(code: &[f32], x: f32) -> u8 {
    let Ok(code) = <&[f32; 256]>::try_from(code) else { return 0 };
    // The cast takes NaN (a nested scale of 0) to 0, as the kernel does.
    let at = (((x + 1.0) * 0.5).mul_add(65535.0, 0.5) as i32).clamp(0, 65535);
    let point = at as f32 / 65535.0 * 2.0 - 1.0;
    let above = code.partition_point(|&c| c < point).clamp(1, 255);
    let nearest = if point - code[above - 1] <= code[above] - point { above - 1 } else { above };
    nearest as u8
}

/// The mean of `x` in `f32`, summed in the order in which PyTorch sums on one CPU thread; 0 for no
/// values.
///
/// Four accumulators of eight lanes take 32 values a round; after every 16 rounds (more beyond 2²⁰
/// rounds) they are added to a slower level, four levels in all. Leftover vectors go to accumulator
/// 0; then the accumulators, the tail and the lanes are added in this order: tail, lane 0, lane 1,
/// … Fewer than eight values go to four accumulators of one lane.
///
/// **Source** `aten/src/ATen/native/cpu/SumKernel.cpp`. PyTorch splits tensors of 32768 scales and
/// more (2 million weights) among its threads, and then its last bit depends on their number.
pub fn mean_like_torch(x: &[f32]) -> f32 {
    const LANES: usize = 8;
    const ACCUMULATORS: usize = 4;
    const ROUND: usize = LANES * ACCUMULATORS;
    const LEVELS: usize = 4;
    if x.is_empty() {
        return 0.0;
    }
    if x.len() < LANES {
        let (round, rest) = x.split_at(x.len() / ACCUMULATORS * ACCUMULATORS);
        let mut sums = [0.0f32; ACCUMULATORS];
        sums.iter_mut().zip(round).for_each(|(s, v)| *s += v);
        sums[0] = rest.iter().fold(sums[0], |sum, v| sum + v);
        return sums.iter().fold(0.0f32, |sum, v| sum + v) / x.len() as f32;
    }
    let rounds = x.len() / ROUND;
    let level_power = (ceil_log2(rounds) / LEVELS).max(4);
    let mut acc = [[0.0f32; ROUND]; LEVELS];
    for (i, round) in x.chunks_exact(ROUND).enumerate() {
        for (a, v) in acc[0].iter_mut().zip(round) {
            *a += v;
        }
        let done = i + 1;
        if done % (1 << level_power) == 0 {
            for level in 1..LEVELS {
                let (fast, slow) = acc.split_at_mut(level);
                for (s, f) in slow[0].iter_mut().zip(&mut fast[level - 1]) {
                    *s += std::mem::take(f);
                }
                let mask = ((1usize << level_power) - 1).checked_shl((level * level_power) as u32);
                if mask.is_none_or(|mask| done & mask != 0) {
                    break;
                }
            }
        }
    }
    let (mut sums, slower) = (acc[0], &acc[1..]);
    for level in slower {
        for (s, v) in sums.iter_mut().zip(level) {
            *s += v;
        }
    }
    let rest = &x[rounds * ROUND..];
    let vectors = rest.chunks_exact(LANES);
    let tail = vectors.remainder();
    for vector in vectors {
        for (s, v) in sums.iter_mut().zip(vector) {
            *s += v;
        }
    }
    let (first, others) = sums.split_at_mut(LANES);
    for other in others.chunks_exact(LANES) {
        for (s, v) in first.iter_mut().zip(other) {
            *s += v;
        }
    }
    let sum = tail.iter().chain(first.iter()).fold(0.0f32, |sum, v| sum + v);
    sum / x.len() as f32
}

fn ceil_log2(n: usize) -> usize {
    if n <= 1 { 0 } else { (usize::BITS - (n - 1).leading_zeros()) as usize }
}

/// Double quantization of block scales with the code book `code`: `(codes, nested_absmax, offset)`.
///
/// `offset = mean(absmax)`; `d = absmax − offset`; per [`NESTED_BLOCK`] `nested_absmax = max |d|`;
/// `codes = nearest(d · (1 / nested_absmax))`, all in `f32`.
///
/// **Shapes** `absmax (n)` → codes `(n)`, nested absmax `(⌈n/256⌉)`. **Source** arXiv:2305.14314,
/// §3.
pub fn quantize_scales(absmax: &[f32], code: &[f32]) -> (Vec<u8>, Vec<f32>, f32) {
    let offset = mean_like_torch(absmax);
    let mut codes = Vec::with_capacity(absmax.len());
    let mut nested = Vec::with_capacity(absmax.len().div_ceil(NESTED_BLOCK));
    for block in absmax.chunks(NESTED_BLOCK) {
        let largest = block.iter().map(|a| (a - offset).abs()).fold(0.0, f32::max);
        let inverse = 1.0 / largest;
        codes.extend(block.iter().map(|a| nearest_code(code, (a - offset) * inverse)));
        nested.push(largest);
    }
    (codes, nested, offset)
}

/// The scales that [`quantize_scales`] kept: `code[codes[b]] · nested_absmax[b / 256] + offset`, a
/// product and a sum (never fused). Codes without a nested scale or a code book entry are left out.
pub fn dequantize_scales(codes: &[u8], nested: &[f32], offset: f32, code: &[f32]) -> Vec<f32> {
    codes
        .chunks(NESTED_BLOCK)
        .zip(nested)
        .flat_map(|(codes, nested)| {
            codes.iter().filter_map(move |c| Some(code.get(usize::from(*c))? * nested + offset))
        })
        .collect()
}
