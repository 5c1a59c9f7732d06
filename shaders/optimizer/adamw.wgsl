// adamw: one step of AdamW on the clipped gradient, which is set to 0 for the next window.
// roles: none
// dispatch: (n / WG)   writes: theta, m, v in place, g = 0   source: Loshchilov & Hutter 2019, alg. 2

// decay = 1 - lr·weight_decay, step = lr / bias1, root = √bias2, with biasK = 1 - betaK^t.
struct Params { n: u32, decay: f32, rest1: f32, beta2: f32, rest2: f32, eps: f32, step: f32, root: f32 }

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read_write> g:     array<f32>;  // (n)
@group(0) @binding(2) var<storage, read_write> theta: array<f32>;  // (n)
@group(0) @binding(3) var<storage, read_write> m:     array<f32>;  // (n)
@group(0) @binding(4) var<storage, read_write> v:     array<f32>;  // (n)
@group(0) @binding(5) var<storage, read>       stats: array<f32>;  // (8), from clip_coefficient

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn adamw(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n { return; }
    let gradient = g[i] * stats[1];
    g[i] = 0.0;
    // A norm that is not finite skips the step; by bits, because WGSL may assume there is none.
    if (bitcast<u32>(stats[0]) & 0x7f800000u) == 0x7f800000u { return; }
    let mean = m[i] + p.rest1 * (gradient - m[i]);
    let square = v[i] * p.beta2 + p.rest2 * gradient * gradient;
    m[i] = mean;
    v[i] = square;
    theta[i] = theta[i] * p.decay - p.step * mean / (sqrt(square) / p.root + p.eps);
}
