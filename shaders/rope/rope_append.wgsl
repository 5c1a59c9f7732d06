// rope_append: rope of q in place; rope of k, and v as it is, into rows start… of a cache.
// roles: none
// dispatch: (N·E / 2·WG)   writes: q, keys, values =   source: as rope; key-value caching
// One j of all heads an invocation: its sine and cosine are loaded once.

struct Params {
    n: u32, heads: u32, kv_heads: u32, half: u32, positions: u32, queries: u32, capacity: u32, start: u32,
    k: u32, v: u32,
}

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read_write> qkv:       array<f32>;  // (B·T, H·E); k, v (B·T, G·E) behind
@group(0) @binding(2) var<storage, read>       cos:       array<f32>;  // (P, E/2)
@group(0) @binding(3) var<storage, read>       sin:       array<f32>;  // (P, E/2)
@group(0) @binding(4) var<storage, read>       positions: array<u32>;  // (B·T), each below P
@group(0) @binding(5) var<storage, read_write> keys:      array<f32>;  // (B·S, G·E)
@group(0) @binding(6) var<storage, read_write> values:    array<f32>;  // (B·S, G·E)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn rope_append(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n * p.half { return; }
    let row = i / p.half;
    let j = i - row * p.half;
    // A position beyond the table would read foreign memory.
    let at = min(positions[row], p.positions - 1u) * p.half + j;
    let c = cos[at];
    let s = sin[at];
    for (var h = 0u; h < p.heads; h++) {
        let first = (row * p.heads + h) * p.half * 2u + j;
        let a = qkv[first];
        let b = qkv[first + p.half];
        qkv[first] = a * c - b * s;
        qkv[first + p.half] = b * c + a * s;
    }
    let to = row / p.queries * p.capacity + p.start + row % p.queries;
    for (var h = 0u; h < p.kv_heads; h++) {
        let first = (row * p.kv_heads + h) * p.half * 2u + j;
        let place = (to * p.kv_heads + h) * p.half * 2u + j;
        let a = qkv[p.k + first];
        let b = qkv[p.k + first + p.half];
        keys[place] = a * c - b * s;
        keys[place + p.half] = b * c + a * s;
        values[place] = qkv[p.v + first];
        values[place + p.half] = qkv[p.v + first + p.half];
    }
}
