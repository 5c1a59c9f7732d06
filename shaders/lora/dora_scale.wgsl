// dora_scale: y = z · magnitude / norm, per column. One invocation per element.
// roles: none
// dispatch: (M·N / WG)   writes: y =   source: Liu et al. 2024 (DoRA), eq. 5

struct Params { m: u32, n: u32 }

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read>       z:         array<f32>;  // (M, N)
@group(0) @binding(2) var<storage, read>       magnitude: array<f32>;  // (N)
@group(0) @binding(3) var<storage, read>       norm:      array<f32>;  // (N), from dora_norm
@group(0) @binding(4) var<storage, read_write> y:         array<f32>;  // (M, N)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn dora_scale(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.m * p.n { return; }
    let n = i % p.n;
    y[i] = z[i] * (magnitude[n] / norm[n]);
}
