// sum_squares: partials[i] = Σ g² over the i-th 4096 elements. One workgroup per chunk.
// roles: reduce
// dispatch: (n / 4096)   writes: partials =   source: sum in a fixed order

struct Params { n: u32, chunks: u32 }

@group(0) @binding(0) var<uniform>             p:        Params;
@group(0) @binding(1) var<storage, read>       g:        array<f32>;  // (n)
@group(0) @binding(2) var<storage, read_write> partials: array<f32>;  // (chunks)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn sum_squares(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunk = group.x + group.y * groups.x;
    if chunk >= p.chunks { return; }
    let end = min((chunk + 1u) * 4096u, p.n);
    // Sums of at most 16 terms, then of those: the rounding error grows with the longest sum.
    var sum = 0.0;
    for (var block = chunk * 4096u + lane; block < end; block += 16u * WG) {
        var part = 0.0;
        for (var i = block; i < min(block + 16u * WG, end); i += WG) { part += g[i] * g[i]; }
        sum += part;
    }
    sum = wg_sum(sum, lane);
    if lane == 0u { partials[chunk] = sum; }
}
