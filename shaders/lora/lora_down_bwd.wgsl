// lora_down_bwd: dx += mask ⊙ dlow·A. Four columns of a row an invocation.
// roles: mask
// dispatch: (M · K / 256)   writes: dx +=   source: derivative of lora_down by its input

struct Params { m: u32, k: u32, rank: u32, seed: u32, threshold: u32, keep: f32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       dlow: array<f32>;  // (M, R)
@group(0) @binding(2) var<storage, read>       a:    array<f32>;  // (R, K)
@group(0) @binding(3) var<storage, read_write> dx:   array<f32>;  // (M, K)

@compute @workgroup_size(64)
fn lora_down_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let quads = (p.k + 3u) / 4u;
    if i >= p.m * quads { return; }
    let row = i / quads;
    let k = i % quads * 4u;
    // Columns past the end repeat the last one and are not stored.
    let ks = min(vec4u(k, k + 1u, k + 2u, k + 3u), vec4u(p.k - 1u));
    var sum = vec4f();
    for (var r = 0u; r < p.rank; r++) {
        let at = ks + r * p.k;
        sum += dlow[row * p.rank + r] * vec4f(a[at.x], a[at.y], a[at.z], a[at.w]);
    }
    let to = row * p.k + k;
    sum *= mask4(to);
    for (var j = 0u; j < 4u; j++) {
        if k + j < p.k { dx[to + j] += sum[j]; }
    }
}
