// adamw8bit: AdamW whose moments are 8-bit codes, a scale per block of 256.
// roles: reduce
// dispatch: (n / 256)   writes: theta, m, v, scales in place, g = 0   source: Dettmers et al. 2022, §2
// One workgroup per block.

// decay = 1 - lr·weight_decay, step = lr / bias1, root = √bias2, with biasK = 1 - betaK^t.
struct Params {
    blocks: u32, decay: f32, beta1: f32, rest1: f32, beta2: f32, rest2: f32, eps: f32, step: f32, root: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read_write> g:      array<vec4f>;     // (n)
@group(0) @binding(2) var<storage, read_write> theta:  array<vec4f>;     // (n)
@group(0) @binding(3) var<storage, read_write> m:      array<u32>;       // (n) codes, four a word
@group(0) @binding(4) var<storage, read_write> v:      array<u32>;       // (n) codes, four a word
@group(0) @binding(5) var<storage, read_write> scales: array<vec2f>;     // (n / 256): of m, of v
@group(0) @binding(6) var<storage, read>       stats:  array<f32>;       // (8), from clip_coefficient
@group(0) @binding(7) var<uniform>             codes:  array<vec4f, 128>; // 256 values of m, then of v

override WG: u32 = 64u;

const WORDS: u32 = 64u;  // of codes in a block

fn value(book: u32, code: u32) -> f32 {
    let i = book * 256u + code;
    return codes[i / 4u][i % 4u];
}

fn unpack(book: u32, word: u32) -> vec4f {
    return vec4f(value(book, word & 255u), value(book, (word >> 8u) & 255u),
                 value(book, (word >> 16u) & 255u), value(book, word >> 24u));
}

// The code nearest to the closest of 65536 evenly spaced points of [-1, 1]: bitsandbytes' rule on
// CPUs.
fn nearest(book: u32, x: f32) -> u32 {
    let at = clamp(u32(fma((x + 1.0) * 0.5, 65535.0, 0.5)), 0u, 65535u);
    let point = f32(at) / 65535.0 * 2.0 - 1.0;
    // The first of codes 1 to 255 that is not below, or the last of them.
    var above = 1u;
    for (var jump = 128u; jump > 0u; jump /= 2u) {
        let probe = above + jump - 1u;
        if probe < 255u && value(book, probe) < point { above = probe + 1u; }
    }
    let low_is_nearer = point - value(book, above - 1u) <= value(book, above) - point;
    return select(above, above - 1u, low_is_nearer);
}

// A block without anything in it has code 0 everywhere, times a scale of 0.
fn pack(book: u32, x: vec4f, scale: f32) -> u32 {
    if scale < 1e-37 { return 0u; }
    let inverse = 1.0 / scale;
    var word = 0u;
    for (var i = 0u; i < 4u; i += 1u) { word |= nearest(book, x[i] * inverse) << (8u * i); }
    return word;
}

fn mean(i: u32, scale: f32) -> vec4f {
    return unpack(0u, m[i]) * scale * p.beta1 + p.rest1 * (g[i] * stats[1]);
}

fn square(i: u32, scale: f32) -> vec4f {
    let gradient = g[i] * stats[1];
    return unpack(1u, v[i]) * scale * p.beta2 + p.rest2 * gradient * gradient;
}

fn largest(x: vec4f) -> f32 {
    let a = abs(x);
    return max(max(a.x, a.y), max(a.z, a.w));
}

@compute @workgroup_size(WG)
fn adamw8bit(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let block = group.x + group.y * groups.x;
    if block >= p.blocks { return; }
    let old = scales[block];
    // A norm that is not finite skips the step; by bits, because WGSL may assume there is none.
    let skip = (bitcast<u32>(stats[0]) & 0x7f800000u) == 0x7f800000u;
    var most = vec2f(0.0);
    for (var j = lane; j < WORDS; j += WG) {
        let i = block * WORDS + j;
        most = max(most, vec2f(largest(mean(i, old.x)), largest(square(i, old.y))));
    }
    let new_scales = vec2f(wg_max(most.x, lane), wg_max(most.y, lane));
    for (var j = lane; j < WORDS; j += WG) {
        let i = block * WORDS + j;
        if !skip {
            let m1 = mean(i, old.x);
            let v1 = square(i, old.y);
            theta[i] = theta[i] * p.decay - p.step * m1 / (sqrt(v1) / p.root + p.eps);
            m[i] = pack(0u, m1, new_scales.x);
            v[i] = pack(1u, v1, new_scales.y);
        }
        g[i] = vec4f(0.0);
    }
    if lane == 0u && !skip { scales[block] = new_scales; }
}
