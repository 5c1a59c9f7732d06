// linear_fwd: y[m, first + n] (+)= scale · Σ_k x[m, k] · w[n, k].
// roles: rows, codebook
// dispatch: (N/64, M/32)   writes: y = or +=   source: Dettmers et al. 2023, eq. 5
// 8×4 outputs an invocation, sums scaled once per block of 64 k, without shared memory or
// subgroups: for software adapters that have none of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
    rank: u32, branch_scale: f32, eps: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<vec4f>;      // (M, K)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
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
    let quad = at.x;
    let m0 = at.y * 8u;
    if quad >= p.n / 4u || m0 >= p.m { return; }
    // Rows past the end repeat the last one and are not stored.
    let last = p.m - 1u;
    let low4 = min(m0 + vec4u(0u, 1u, 2u, 3u), vec4u(last)) * (p.k / 4u);
    let high4 = min(m0 + vec4u(4u, 5u, 6u, 7u), vec4u(last)) * (p.k / 4u);
    var s0: vec4f;
    var s1: vec4f;
    var s2: vec4f;
    var s3: vec4f;
    var s4: vec4f;
    var s5: vec4f;
    var s6: vec4f;
    var s7: vec4f;
    let k8 = p.k / 8u;
    for (var first = 0u; first < k8; first += 8u) {
        var t0 = vec4f();
        var t1 = vec4f();
        var t2 = vec4f();
        var t3 = vec4f();
        var t4 = vec4f();
        var t5 = vec4f();
        var t6 = vec4f();
        var t7 = vec4f();
        for (var i = first; i < min(first + 8u, k8); i++) {
            let rows = rows32(quad, i);
            t0 += rows.low * x[low4.x + 2u * i] + rows.high * x[low4.x + 2u * i + 1u];
            t1 += rows.low * x[low4.y + 2u * i] + rows.high * x[low4.y + 2u * i + 1u];
            t2 += rows.low * x[low4.z + 2u * i] + rows.high * x[low4.z + 2u * i + 1u];
            t3 += rows.low * x[low4.w + 2u * i] + rows.high * x[low4.w + 2u * i + 1u];
            t4 += rows.low * x[high4.x + 2u * i] + rows.high * x[high4.x + 2u * i + 1u];
            t5 += rows.low * x[high4.y + 2u * i] + rows.high * x[high4.y + 2u * i + 1u];
            t6 += rows.low * x[high4.z + 2u * i] + rows.high * x[high4.z + 2u * i + 1u];
            t7 += rows.low * x[high4.w + 2u * i] + rows.high * x[high4.w + 2u * i + 1u];
        }
        let scale = rows32_scale(quad, first / 8u);
        s0 += t0 * scale;
        s1 += t1 * scale;
        s2 += t2 * scale;
        s3 += t3 * scale;
        s4 += t4 * scale;
        s5 += t5 * scale;
        s6 += t6 * scale;
        s7 += t7 * scale;
    }
    store(m0, quad, s0);
    store(m0 + 1u, quad, s1);
    store(m0 + 2u, quad, s2);
    store(m0 + 3u, quad, s3);
    store(m0 + 4u, quad, s4);
    store(m0 + 5u, quad, s5);
    store(m0 + 6u, quad, s6);
    store(m0 + 7u, quad, s7);
}

fn store(m: u32, quad: u32, sums: vec4f) {
    if m >= p.m { return; }
    let i = (m * p.stride + p.first) / 4u + quad;
    y[i] = select(vec4f(), y[i], p.accumulate == 1u) + sums * p.scale;
}
