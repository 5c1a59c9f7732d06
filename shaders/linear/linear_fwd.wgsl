// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k] + branch[m, n].
// roles: weight, branch
// dispatch: (N/32, M/32)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// 4×4 outputs an invocation.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<f32>;  // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<u32>;  // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;  // one per block of 64
@group(0) @binding(4) var<storage, read>       nested: array<f32>;  // scales of scales, one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read>       down:   array<f32>;  // (M, R)
@group(0) @binding(7) var<storage, read>       b:      array<f32>;  // (N, R)
@group(0) @binding(8) var<storage, read_write> y:      array<f32>;  // (M, stride)

@compute @workgroup_size(8, 8)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let at = group.xy * vec2u(8u, 8u) + local.xy;
    let n0 = at.x * 4u;
    let m0 = at.y * 4u;
    if n0 >= p.n || m0 >= p.m { return; }
    // Rows and columns past the end repeat the last one and are not stored.
    let xs = min(vec4u(m0, m0 + 1u, m0 + 2u, m0 + 3u), vec4u(p.m - 1u)) * p.k;
    let ws = min(vec4u(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4u(p.n - 1u)) * p.k;
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var k = 0u; k < p.k; k++) {
        let v = vec4f(
            weight_at(ws.x + k), weight_at(ws.y + k), weight_at(ws.z + k), weight_at(ws.w + k),
        );
        s0 += x[xs.x + k] * v;
        s1 += x[xs.y + k] * v;
        s2 += x[xs.z + k] * v;
        s3 += x[xs.w + k] * v;
    }
    store(m0, n0, s0);
    store(m0 + 1u, n0, s1);
    store(m0 + 2u, n0, s2);
    store(m0 + 3u, n0, s3);
}

fn store(m: u32, n: u32, sums: vec4f) {
    if m >= p.m { return; }
    for (var j = 0u; j < 4u; j++) {
        if n + j < p.n {
            let i = m * p.stride + p.first + n + j;
            var sum = sums[j] * p.scale;
            for (var r = 0u; r < branch_rank(); r++) { sum += branch_at(m, n + j, r); }
            y[i] = select(0.0, y[i], p.accumulate == 1u) + sum;
        }
    }
}
