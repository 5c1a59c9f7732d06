// reduce_sum: y[slot] += Σ x. One workgroup.
// roles: reduce
// dispatch: (1)   writes: y[slot] +=   source: sum in a fixed order

struct Params { n: u32, slot: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<f32>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // (slots)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn reduce_sum(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var block = lane; block < p.n; block += 32u * WG) {
        var part = 0.0;
        for (var i = block; i < min(block + 32u * WG, p.n); i += WG) { part += x[i]; }
        sum += part;
    }
    sum = wg_sum(sum, lane);
    if lane == 0u { y[p.slot] += sum; }
}
