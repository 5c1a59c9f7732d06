// attention_decode: y = softmax(q·kᵀ/√E)·v, a query's keys over the lanes of a workgroup.
// roles: reduce
// dispatch: (B·T·H·⌈E/32⌉)   writes: y =   source: Dao et al. 2023, Flash-Decoding

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
}

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       q: array<f32>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       k: array<f32>;  // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v: array<f32>;  // (B·S, G·E)
@group(0) @binding(4) var<storage, read_write> y: array<f32>;  // (B·T, H·E)

override WG: u32 = 64u;
const COLUMNS: u32 = 32u;

@compute @workgroup_size(WG)
fn attention_decode(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x + group.y * groups.x;
    let parts = (p.e + COLUMNS - 1u) / COLUMNS;
    let part = i % parts;
    let stat = i / parts;
    if stat >= p.batch * p.queries * p.heads { return; }
    let h = stat % p.heads;
    let t = stat / p.heads % p.queries;
    let b = stat / p.heads / p.queries;
    let stride = p.kv_heads * p.e;
    let first = b * p.keys * stride + h / (p.heads / p.kv_heads) * p.e;
    var top = -3.0e38;
    var sum = 0.0;
    var acc: array<f32, COLUMNS>;
    for (var s = lane; s <= p.start + t; s += WG) {
        let key = first + s * stride;
        var score = 0.0;
        // A loop of constant length is unrolled: llvmpipe ends an invocation's loops after 65,535 turns.
        for (var c = 0u; c < p.e; c += COLUMNS) {
            for (var j = 0u; j < COLUMNS; j++) {
                let e = min(c + j, p.e - 1u);
                score += select(0.0, q[stat * p.e + e] * k[key + e], c + j < p.e);
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
    // A lane without keys has the lowest maximum, so that it weighs nothing.
    let keep = exp(top - wg_max(top, lane));
    let total = wg_sum(sum * keep, lane);
    for (var j = 0u; j < COLUMNS; j++) {
        let column = wg_sum(acc[j] * keep, lane);
        let e = part * COLUMNS + j;
        if lane == 0u && e < p.e { y[stat * p.e + e] = column / total; }
    }
}
