// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k]. 4×4 outputs an invocation.
// roles: weight
// dispatch: (K/32, M/32)   writes: dx = or +=   source: derivative of linear_fwd by its input

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       dy:     array<f32>;  // (M, stride)
@group(0) @binding(2) var<storage, read>       w:      array<u32>;  // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;  // one per block of 64
@group(0) @binding(4) var<storage, read>       nested: array<f32>;  // scales of scales, one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> dx:     array<f32>;  // (M, K)

@compute @workgroup_size(8, 8)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let at = group.xy * vec2u(8u, 8u) + local.xy;
    let k0 = at.x * 4u;
    let m0 = at.y * 4u;
    if k0 >= p.k || m0 >= p.m { return; }
    // Rows and columns past the end repeat the last one and are not stored.
    let ds = min(vec4u(m0, m0 + 1u, m0 + 2u, m0 + 3u), vec4u(p.m - 1u)) * p.stride + p.first;
    let ks = min(vec4u(k0, k0 + 1u, k0 + 2u, k0 + 3u), vec4u(p.k - 1u));
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var n = 0u; n < p.n; n++) {
        let ws = ks + n * p.k;
        let v = vec4f(weight_at(ws.x), weight_at(ws.y), weight_at(ws.z), weight_at(ws.w));
        s0 += dy[ds.x + n] * v;
        s1 += dy[ds.y + n] * v;
        s2 += dy[ds.z + n] * v;
        s3 += dy[ds.w + n] * v;
    }
    store(m0, k0, s0);
    store(m0 + 1u, k0, s1);
    store(m0 + 2u, k0, s2);
    store(m0 + 3u, k0, s3);
}

fn store(m: u32, k: u32, sums: vec4f) {
    if m >= p.m { return; }
    for (var j = 0u; j < 4u; j++) {
        if k + j < p.k {
            let i = m * p.k + k + j;
            dx[i] = select(0.0, dx[i], p.accumulate == 1u) + sums[j] * p.scale;
        }
    }
}
