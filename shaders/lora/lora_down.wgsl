// lora_down: low = (mask ⊙ x)·Aᵀ. One output an invocation.
// roles: mask
// dispatch: (M · R / 64)   writes: low =   source: Hu et al. 2021, eq. 3

struct Params { m: u32, k: u32, rank: u32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:   Params;
@group(0) @binding(1) var<storage, read>       x:   array<f32>;  // (M, K)
@group(0) @binding(2) var<storage, read>       a:   array<f32>;  // (R, K)
@group(0) @binding(3) var<storage, read_write> low: array<f32>;  // (M, R)

@compute @workgroup_size(64)
fn lora_down(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    if i >= p.m * p.rank { return; }
    let x_at = i / p.rank * p.k;
    let a_at = i % p.rank * p.k;
    var sum = vec4f();
    for (var k = 0u; k + 3u < p.k; k += 4u) {
        let v = vec4f(x[x_at + k], x[x_at + k + 1u], x[x_at + k + 2u], x[x_at + k + 3u]);
        let w = vec4f(a[a_at + k], a[a_at + k + 1u], a[a_at + k + 2u], a[a_at + k + 3u]);
        sum += v * mask4(x_at + k) * w;
    }
    for (var k = p.k / 4u * 4u; k < p.k; k++) { sum.x += x[x_at + k] * mask4(x_at + k).x * a[a_at + k]; }
    low[i] = sum.x + sum.y + sum.z + sum.w;
}
