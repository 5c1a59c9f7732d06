// row_norm: y[n] = √(Σ v[n]²). One workgroup per row.
// roles: reduce
// dispatch: (N)   writes: y =   source: Liu et al. 2024 (DoRA), eq. 5, the norm of W + s·B·A

struct Params { n: u32, k: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       v: array<f32>;  // (N, K)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // (N)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn row_norm(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = group.x + group.y * groups.x;
    if n >= p.n { return; }
    let end = (n + 1u) * p.k;
    var sum = 0.0;
    for (var block = n * p.k + lane; block < end; block += 16u * WG) {
        var part = 0.0;
        for (var i = block; i < min(block + 16u * WG, end); i += WG) { part += v[i] * v[i]; }
        sum += part;
    }
    sum = wg_sum(sum, lane);
    if lane == 0u { y[n] = sqrt(sum); }
}
