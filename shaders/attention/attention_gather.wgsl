// attention_gather: y = softmax(q·kᵀ/√E)·v over listed keys.
// roles: none
// dispatch: (N·H·⌈E/32⌉ / 64)   writes: y =   source: Kwon et al. 2023 (PagedAttention), pages of one token
// One invocation per row, head and 32 columns.

struct Params { rows: u32, listed: u32, slots: u32, heads: u32, kv_heads: u32, e: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       q:     array<f32>;  // (N, H·E)
@group(0) @binding(2) var<storage, read>       k:     array<f32>;  // (C, G·E)
@group(0) @binding(3) var<storage, read>       v:     array<f32>;  // (C, G·E)
@group(0) @binding(4) var<storage, read>       index: array<u32>;  // (N, S); no slot: end
@group(0) @binding(5) var<storage, read_write> y:     array<f32>;  // (N, H·E)

const COLUMNS: u32 = 32u;

@compute @workgroup_size(64)
fn attention_gather(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    // Neighbours are heads of one row, so that they read the same list at a time.
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let parts = (p.e + COLUMNS - 1u) / COLUMNS;
    let part = i % parts;
    let h = i / parts % p.heads;
    let n = i / parts / p.heads;
    if n >= p.rows { return; }
    let head = (n * p.heads + h) * p.e;
    let stride = p.kv_heads * p.e;
    let first = h / (p.heads / p.kv_heads) * p.e;
    var top = -3.0e38;
    var sum = 0.0;
    var acc: array<f32, COLUMNS>;
    for (var s = 0u; s < p.listed; s++) {
        let slot = index[n * p.listed + s];
        if slot >= p.slots { break; }
        let key = first + slot * stride;
        var score = 0.0;
        // A loop of constant length is unrolled: llvmpipe ends an invocation's loops after 65,535
        // turns.
        for (var c = 0u; c < p.e; c += COLUMNS) {
            for (var j = 0u; j < COLUMNS; j++) {
                let e = min(c + j, p.e - 1u);
                score += select(0.0, q[head + e] * k[key + e], c + j < p.e);
            }
        }
        score *= p.scale;
        let higher = max(top, score);
        let keep = exp(top - higher);
        let weight = exp(score - higher);
        top = higher;
        sum = sum * keep + weight;
        for (var j = 0u; j < COLUMNS; j++) {
            acc[j] = acc[j] * keep + weight * v[key + min(part * COLUMNS + j, p.e - 1u)];
        }
    }
    for (var j = 0u; j < COLUMNS; j++) {
        let e = part * COLUMNS + j;
        if e < p.e { y[head + e] = select(0.0, acc[j] / sum, sum > 0.0); }
    }
}
