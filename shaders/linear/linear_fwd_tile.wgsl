// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k]. 8×4 outputs an invocation, 8 k a turn,
// roles: rows, codebook
// dispatch: (N/64, M/32)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// without shared memory or subgroups: for software adapters that have no subgroups of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // one per block of 64
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // one per 256 blocks
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read>       down:   array<f32>;        // none
@group(0) @binding(7) var<storage, read>       b:      array<f32>;        // none
@group(0) @binding(8) var<storage, read_write> y:      array<vec4f>;      // (M, stride)

@compute @workgroup_size(16, 4)
fn linear_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let at = group.xy * vec2u(16u, 4u) + local.xy;
    let n0 = at.x * 4u;
    let m0 = at.y * 8u;
    if n0 >= p.n || m0 >= p.m { return; }
    // Rows past the end repeat the last one and are not stored; n is a multiple of 4.
    let k4 = p.k / 4u;
    let last = p.m - 1u;
    let low4 = min(m0 + vec4u(0u, 1u, 2u, 3u), vec4u(last)) * k4;
    let high4 = min(m0 + vec4u(4u, 5u, 6u, 7u), vec4u(last)) * k4;
    var s0: vec4f;
    var s1: vec4f;
    var s2: vec4f;
    var s3: vec4f;
    var s4: vec4f;
    var s5: vec4f;
    var s6: vec4f;
    var s7: vec4f;
    for (var i = 0u; i < k4; i += 2u) {
        let r0 = rows8(n0, i / 2u);
        let r1 = rows8(n0 + 1u, i / 2u);
        let r2 = rows8(n0 + 2u, i / 2u);
        let r3 = rows8(n0 + 3u, i / 2u);
        // Column j of `low` holds k = j of the four rows of w: each product is one vector operation.
        let low = transpose(mat4x4f(r0[0], r1[0], r2[0], r3[0]));
        let high = transpose(mat4x4f(r0[1], r1[1], r2[1], r3[1]));
        s0 += low * x[low4.x + i] + high * x[low4.x + i + 1u];
        s1 += low * x[low4.y + i] + high * x[low4.y + i + 1u];
        s2 += low * x[low4.z + i] + high * x[low4.z + i + 1u];
        s3 += low * x[low4.w + i] + high * x[low4.w + i + 1u];
        s4 += low * x[high4.x + i] + high * x[high4.x + i + 1u];
        s5 += low * x[high4.y + i] + high * x[high4.y + i + 1u];
        s6 += low * x[high4.z + i] + high * x[high4.z + i + 1u];
        s7 += low * x[high4.w + i] + high * x[high4.w + i + 1u];
    }
    store(m0, n0, s0);
    store(m0 + 1u, n0, s1);
    store(m0 + 2u, n0, s2);
    store(m0 + 3u, n0, s3);
    store(m0 + 4u, n0, s4);
    store(m0 + 5u, n0, s5);
    store(m0 + 6u, n0, s6);
    store(m0 + 7u, n0, s7);
}

fn store(m: u32, n: u32, sums: vec4f) {
    if m >= p.m { return; }
    let i = (m * p.stride + p.first + n) / 4u;
    y[i] = select(vec4f(), y[i], p.accumulate == 1u) + sums * p.scale;
}
