// clip_coefficient: stats[0] = norm = √(Σ partials), stats[1] = min(1, max_norm / (norm + 1e-6)).
// roles: reduce
// dispatch: (1)   writes: stats[0] =, stats[1] =   source: Pascanu et al. 2013; torch clip_grad_norm_

// max_norm = 0 clips nothing: the coefficient is 1. It is 0 where the norm is not finite.
struct Params { n: u32, max_norm: f32 }

@group(0) @binding(0) var<uniform>             p:        Params;
@group(0) @binding(1) var<storage, read>       partials: array<f32>;  // (n), from sum_squares
@group(0) @binding(2) var<storage, read_write> stats:    array<f32>;  // (8)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn clip_coefficient(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var block = lane; block < p.n; block += 32u * WG) {
        var part = 0.0;
        for (var i = block; i < min(block + 32u * WG, p.n); i += WG) { part += partials[i]; }
        sum += part;
    }
    let norm = sqrt(wg_sum(sum, lane));
    var coefficient = 1.0;
    if p.max_norm > 0.0 { coefficient = min(1.0, p.max_norm / (norm + 1e-6)); }
    // By bits, because WGSL may assume that there are no infinities.
    if (bitcast<u32>(norm) & 0x7f800000u) == 0x7f800000u { coefficient = 0.0; }
    if lane == 0u {
        stats[0] = norm;
        stats[1] = coefficient;
    }
}
