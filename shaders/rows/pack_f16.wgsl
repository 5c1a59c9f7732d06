// pack_f16: y[i] = (f16(x[2i]), f16(x[2i + 1])) in a word; what f16 cannot hold becomes its largest value.
// roles: none
// dispatch: (n/2 / WG)   writes: y =, counts[slot] +=   source: Micikevicius et al. 2018, 16-bit storage

// How many became f16's largest value is counted; where none does, nothing is.
struct Params { n: u32, slot: u32 }

@group(0) @binding(0) var<uniform>             p:      Params;
@group(0) @binding(1) var<storage, read>       x:      array<f32>;          // (n)
@group(0) @binding(2) var<storage, read_write> y:      array<u32>;          // (⌈n/2⌉)
@group(0) @binding(3) var<storage, read_write> counts: array<atomic<u32>>;  // (8)

override WG: u32 = 64u;

const LARGEST = vec2f(65504.0);

@compute @workgroup_size(WG)
fn pack_f16(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if 2u * i >= p.n { return; }
    let pair = vec2f(x[2u * i], select(0.0, x[min(2u * i + 1u, p.n - 1u)], 2u * i + 1u < p.n));
    y[i] = pack2x16float(clamp(pair, -LARGEST, LARGEST));
    let beyond = abs(pair) > LARGEST;
    if any(beyond) { atomicAdd(&counts[p.slot], u32(beyond.x) + u32(beyond.y)); }
}
