// linear_grad: dw += scale · dyᵀ·(mask ⊙ x).
// roles: mask
// dispatch: (K/32, N/32)   writes: dw +=   source: derivative of linear_fwd by its weight
// 8×8 outputs an invocation, without shared memory or subgroups: for software adapters that have
// none of 8.

struct Params { m: u32, n: u32, k: u32, scale: f32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<vec4f>;  // (M, N)
@group(0) @binding(2) var<storage, read>       x:  array<vec4f>;  // (M, K)
@group(0) @binding(3) var<storage, read_write> dw: array<vec4f>;  // (N, K)

@compute @workgroup_size(4, 4)
fn linear_grad(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let at = group.xy * vec2u(4u, 4u) + local.xy;
    let n4 = p.n / 4u;
    let k4 = p.k / 4u;
    let c = at.x * 2u;
    let r = at.y * 2u;
    if c >= k4 || r >= n4 { return; }
    // Four rows or columns past the end repeat the last ones and are not stored.
    let c1 = min(c + 1u, k4 - 1u);
    let r1 = min(r + 1u, n4 - 1u);
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
    for (var m = 0u; m < p.m; m++) {
        let i = m * k4 + c;
        let j = m * k4 + c1;
        let left = x[i] * mask4(4u * i);
        let right = x[j] * mask4(4u * j);
        let low = dy[m * n4 + r];
        let high = dy[m * n4 + r1];
        s0 += low.x * left;
        s1 += low.y * left;
        s2 += low.z * left;
        s3 += low.w * left;
        s4 += high.x * left;
        s5 += high.y * left;
        s6 += high.z * left;
        s7 += high.w * left;
        t0 += low.x * right;
        t1 += low.y * right;
        t2 += low.z * right;
        t3 += low.w * right;
        t4 += high.x * right;
        t5 += high.y * right;
        t6 += high.z * right;
        t7 += high.w * right;
    }
    store(4u * r, c, s0, t0);
    store(4u * r + 1u, c, s1, t1);
    store(4u * r + 2u, c, s2, t2);
    store(4u * r + 3u, c, s3, t3);
    store(4u * r + 4u, c, s4, t4);
    store(4u * r + 5u, c, s5, t5);
    store(4u * r + 6u, c, s6, t6);
    store(4u * r + 7u, c, s7, t7);
}

fn store(n: u32, c: u32, left: vec4f, right: vec4f) {
    if n >= p.n { return; }
    let i = n * (p.k / 4u) + c;
    dw[i] += left * p.scale;
    if c + 1u < p.k / 4u { dw[i + 1u] += right * p.scale; }
}
