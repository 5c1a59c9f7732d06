// dora_bwd: dz = dy · magnitude / norm, d_magnitude[n] += Σ dy·z / norm over rows.
// roles: none
// dispatch: (N / WG)   writes: dz =, d_magnitude +=   source: derivative of Liu et al. 2024, eq. 5 and § 4.3
// The norm is a constant.

struct Params { m: u32, n: u32 }

@group(0) @binding(0) var<uniform>             p:           Params;
@group(0) @binding(1) var<storage, read>       dy:          array<f32>;  // (M, N)
@group(0) @binding(2) var<storage, read>       z:           array<f32>;  // (M, N)
@group(0) @binding(3) var<storage, read>       magnitude:   array<f32>;  // (N)
@group(0) @binding(4) var<storage, read>       norm:        array<f32>;  // (N), from dora_norm
@group(0) @binding(5) var<storage, read_write> dz:          array<f32>;  // (M, N)
@group(0) @binding(6) var<storage, read_write> d_magnitude: array<f32>;  // (N)

override WG: u32 = 64u;

// One invocation per column: neighbours read neighbours, and the order of the sum is fixed.
@compute @workgroup_size(WG)
fn dora_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = (group.x + group.y * groups.x) * WG + lane;
    if n >= p.n { return; }
    let scale = magnitude[n] / norm[n];
    let end = p.m * p.n;
    var sum = 0.0;
    for (var block = n; block < end; block += 32u * p.n) {
        var part = 0.0;
        for (var i = block; i < min(block + 32u * p.n, end); i += p.n) {
            let d = dy[i];
            dz[i] = d * scale;
            part += d * z[i];
        }
        sum += part;
    }
    d_magnitude[n] += sum / norm[n];
}
