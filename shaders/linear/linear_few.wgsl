// linear_few: y[m, n] (+)= scale · Σ_k in(x)[m, k] · w[n, k] + branch[m, n] for few m.
// roles: weight, input, branch, reduce
// dispatch: (N over x and y, M in z)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5 and 6
// A workgroup an output.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<f32>;  // (M, K), or gate and up, (2, M, K)
@group(0) @binding(2) var<storage, read>       norm:   array<f32>;  // (K)
@group(0) @binding(3) var<storage, read>       w:      array<u32>;  // (N, K), packed
@group(0) @binding(4) var<storage, read>       scales: array<u32>;  // one per block of 64
@group(0) @binding(5) var<storage, read>       nested: array<f32>;  // scales of scales, one per 256 blocks
@group(0) @binding(6) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(7) var<storage, read>       down:   array<f32>;  // (M, R)
@group(0) @binding(8) var<storage, read>       b:      array<f32>;  // (N, R)
@group(0) @binding(9) var<storage, read_write> y:      array<f32>;  // (M, stride)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn linear_few(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = group.y * groups.x + group.x;
    if n >= p.n { return; }
    let row = group.z;
    var part = 0.0;
    for (var k = lane; k < p.k; k += WG) { part += input(row, k) * weight_at(n * p.k + k); }
    var up = 0.0;
    for (var r = lane; r < branch_rank(); r += WG) { up += branch_at(row, n, r); }
    if INPUT_SQUARES { part *= input_factor(wg_sum(input_squares, lane)); }
    let sum = wg_sum(p.scale * part + up, lane);
    if lane == 0u {
        let i = row * p.stride + p.first + n;
        y[i] = select(0.0, y[i], p.accumulate == 1u) + sum;
    }
}
