// dora_norm: norm[first + n] = ‖w[n, :] + scale · Σ_r b[first + n, r] · a[r, :]‖₂.
// roles: weight, reduce
// dispatch: (N)   writes: norm = in these rows   source: Liu et al. 2024, eq. 5
// One workgroup per row.

struct Params { n: u32, k: u32, r: u32, first: u32, scale: f32, offset: f32 }

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       w:      array<u32>;  // (N, K), packed
@group(0) @binding(2) var<storage, read>       scales: array<u32>;  // one per block of 64
@group(0) @binding(3) var<storage, read>       nested: array<f32>;  // scales of scales, one per 256 blocks
@group(0) @binding(4) var<uniform>             table:  array<vec4f, 64>;  // values of scale codes
@group(0) @binding(5) var<storage, read>       a:      array<f32>;  // (R, K)
@group(0) @binding(6) var<storage, read>       b:      array<f32>;  // (out, R)
@group(0) @binding(7) var<storage, read_write> norm:   array<f32>;  // (out)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn dora_norm(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let n = group.x + group.y * groups.x;
    if n >= p.n { return; }
    let out = p.first + n;
    var sum = 0.0;
    for (var k = lane; k < p.k; k += WG) {
        var delta = 0.0;
        // A loop of constant length is unrolled: llvmpipe ends an invocation's loops after 65,535
        // turns.
        for (var c = 0u; c < p.r; c += 8u) {
            for (var j = 0u; j < 8u; j++) {
                let r = min(c + j, p.r - 1u);
                delta += select(0.0, b[out * p.r + r] * a[r * p.k + k], c + j < p.r);
            }
        }
        let v = weight_at(n * p.k + k) + p.scale * delta;
        sum += v * v;
    }
    let total = wg_sum(sum, lane);
    if lane == 0u { norm[out] = sqrt(total); }
}
