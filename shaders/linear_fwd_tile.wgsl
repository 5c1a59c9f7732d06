// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k]. 4×4 outputs an invocation, 8 columns,
// roles: rows
// dispatch: (N/32, M/32)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// without shared memory: for software adapters that have no subgroups of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;  // (M, K/4)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;  // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;  // one per block of 64
@group(0) @binding(4) var<storage, read>       nested: array<f32>;  // scales of scales, one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> y:      array<vec4f>;  // (M, stride/4)

@compute @workgroup_size(8, 8)
fn linear_fwd(@builtin(global_invocation_id) at: vec3u) {
    let n0 = at.x * 4u;
    let m0 = at.y * 4u;
    if n0 >= p.n || m0 >= p.m { return; }
    // Rows past the end repeat the last one and are not stored; n is a multiple of 4.
    let xs = min(vec4u(m0, m0 + 1u, m0 + 2u, m0 + 3u), vec4u(p.m - 1u)) * (p.k / 4u);
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var i = 0u; i < p.k / 8u; i++) {
        let a = rows8(n0, i);
        let b = rows8(n0 + 1u, i);
        let c = rows8(n0 + 2u, i);
        let d = rows8(n0 + 3u, i);
        // Row j of `low` holds column j of the four rows: each product is one vector operation.
        let low = transpose(mat4x4f(a[0], b[0], c[0], d[0]));
        let high = transpose(mat4x4f(a[1], b[1], c[1], d[1]));
        s0 += low * x[xs.x + 2u * i] + high * x[xs.x + 2u * i + 1u];
        s1 += low * x[xs.y + 2u * i] + high * x[xs.y + 2u * i + 1u];
        s2 += low * x[xs.z + 2u * i] + high * x[xs.z + 2u * i + 1u];
        s3 += low * x[xs.w + 2u * i] + high * x[xs.w + 2u * i + 1u];
    }
    store(m0, n0, s0);
    store(m0 + 1u, n0, s1);
    store(m0 + 2u, n0, s2);
    store(m0 + 3u, n0, s3);
}

fn store(m: u32, n: u32, sums: vec4f) {
    if m >= p.m { return; }
    let i = (m * p.stride + p.first + n) / 4u;
    y[i] = select(vec4f(0.0), y[i], p.accumulate == 1u) + sums * p.scale;
}
