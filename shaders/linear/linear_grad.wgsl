// linear_grad: dw += scale · dyᵀ·(mask ⊙ x). 4×4 outputs an invocation.
// roles: mask
// dispatch: (K/32, N/32)   writes: dw +=   source: derivative of linear_fwd by its weight

struct Params { m: u32, n: u32, k: u32, scale: f32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<f32>;  // (M, N)
@group(0) @binding(2) var<storage, read>       x:  array<f32>;  // (M, K)
@group(0) @binding(3) var<storage, read_write> dw: array<f32>;  // (N, K)

@compute @workgroup_size(8, 8)
fn linear_grad(
    @builtin(workgroup_id) group: vec3u,
    @builtin(local_invocation_id) local: vec3u,
) {
    let at = group.xy * vec2u(8u, 8u) + local.xy;
    let k0 = at.x * 4u;
    let n0 = at.y * 4u;
    if k0 >= p.k || n0 >= p.n { return; }
    // Rows and columns past the end repeat the last one and are not stored.
    let ns = min(vec4u(n0, n0 + 1u, n0 + 2u, n0 + 3u), vec4u(p.n - 1u));
    let ks = min(vec4u(k0, k0 + 1u, k0 + 2u, k0 + 3u), vec4u(p.k - 1u));
    var s0 = vec4f(0.0);
    var s1 = vec4f(0.0);
    var s2 = vec4f(0.0);
    var s3 = vec4f(0.0);
    for (var m = 0u; m < p.m; m++) {
        let i = ks + m * p.k;
        let d = ns + m * p.n;
        let v = vec4f(x[i.x], x[i.y], x[i.z], x[i.w]) * mask4(i.x);
        s0 += dy[d.x] * v;
        s1 += dy[d.y] * v;
        s2 += dy[d.z] * v;
        s3 += dy[d.w] * v;
    }
    store(n0, k0, s0);
    store(n0 + 1u, k0, s1);
    store(n0 + 2u, k0, s2);
    store(n0 + 3u, k0, s3);
}

fn store(n: u32, k: u32, sums: vec4f) {
    if n >= p.n { return; }
    for (var j = 0u; j < 4u; j++) {
        if k + j < p.k { dw[n * p.k + k + j] += sums[j] * p.scale; }
    }
}
