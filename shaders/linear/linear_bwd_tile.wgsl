// linear_bwd: dx[m, k] (+)= scale · Σ_n dy[m, first + n] · w[n, k].
// roles: rows, codebook
// dispatch: (K/128, M/32)   writes: dx = or +=   source: derivative of linear_fwd by its input
// 8×8 outputs an invocation, 4 n a turn, without shared memory or subgroups: for software adapters
// that have none of 8.

struct Params {
    m: u32, n: u32, k: u32, stride: u32, first: u32, accumulate: u32, scale: f32, offset: f32,
}

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       dy:     array<vec4f>;      // (M, stride)
@group(0) @binding(2) var<storage, read>       w:      array<vec4u>;      // (N, K), packed
@group(0) @binding(3) var<storage, read>       scales: array<u32>;        // scales of blocks
@group(0) @binding(4) var<storage, read>       nested: array<f32>;        // scales of scales
@group(0) @binding(5) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(6) var<storage, read_write> dx:     array<vec4f>;      // (M, K)

@compute @workgroup_size(16, 4)
fn linear_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let at = group.xy * vec2u(16u, 4u) + local.xy;
    let eight = at.x;
    let m0 = at.y * 8u;
    if eight >= p.k / 8u || m0 >= p.m { return; }
    // Rows past the end repeat the last one and are not stored.
    let low4 = (min(m0 + vec4u(0u, 1u, 2u, 3u), vec4u(p.m - 1u)) * p.stride + p.first) / 4u;
    let high4 = (min(m0 + vec4u(4u, 5u, 6u, 7u), vec4u(p.m - 1u)) * p.stride + p.first) / 4u;
    var s0: vec4f;
    var s1: vec4f;
    var s2: vec4f;
    var s3: vec4f;
    var s4: vec4f;
    var s5: vec4f;
    var s6: vec4f;
    var s7: vec4f;
    var t0: vec4f;
    var t1: vec4f;
    var t2: vec4f;
    var t3: vec4f;
    var t4: vec4f;
    var t5: vec4f;
    var t6: vec4f;
    var t7: vec4f;
    for (var quad = 0u; quad < p.n / 4u; quad++) {
        let rows = rows32(quad, eight);
        let left = transpose(rows.low);
        let right = transpose(rows.high);
        let scale = rows32_scale(quad, eight / 8u);
        let d0 = dy[low4.x + quad] * scale;
        let d1 = dy[low4.y + quad] * scale;
        let d2 = dy[low4.z + quad] * scale;
        let d3 = dy[low4.w + quad] * scale;
        let d4 = dy[high4.x + quad] * scale;
        let d5 = dy[high4.y + quad] * scale;
        let d6 = dy[high4.z + quad] * scale;
        let d7 = dy[high4.w + quad] * scale;
        s0 += left * d0;
        s1 += left * d1;
        s2 += left * d2;
        s3 += left * d3;
        s4 += left * d4;
        s5 += left * d5;
        s6 += left * d6;
        s7 += left * d7;
        t0 += right * d0;
        t1 += right * d1;
        t2 += right * d2;
        t3 += right * d3;
        t4 += right * d4;
        t5 += right * d5;
        t6 += right * d6;
        t7 += right * d7;
    }
    store(m0, eight, s0, t0);
    store(m0 + 1u, eight, s1, t1);
    store(m0 + 2u, eight, s2, t2);
    store(m0 + 3u, eight, s3, t3);
    store(m0 + 4u, eight, s4, t4);
    store(m0 + 5u, eight, s5, t5);
    store(m0 + 6u, eight, s6, t6);
    store(m0 + 7u, eight, s7, t7);
}

fn store(m: u32, eight: u32, left: vec4f, right: vec4f) {
    if m >= p.m { return; }
    let i = m * (p.k / 4u) + 2u * eight;
    dx[i] = select(vec4f(), dx[i], p.accumulate == 1u) + left * p.scale;
    dx[i + 1u] = select(vec4f(), dx[i + 1u], p.accumulate == 1u) + right * p.scale;
}
