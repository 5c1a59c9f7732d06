// attention_fwd: y = softmax(q·kᵀ/√E)·v. One invocation per query, head and 32 columns.
// roles: none
// dispatch: (B·H·⌈E/32⌉·T / 64)   writes: y =, lse =   source: Dao 2023 (FlashAttention-2), alg. 1

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
    first: u32,  // rows before these queries, and before these keys
}

@group(0) @binding(0) var<uniform>             p:   Params;
@group(0) @binding(1) var<storage, read>       q:   array<f32>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       k:   array<f32>;  // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:   array<f32>;  // (B·S, G·E)
@group(0) @binding(4) var<storage, read_write> y:   array<f32>;  // (B·T, H·E)
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;  // (B·T, H), kept for attention_bwd_*

const COLUMNS: u32 = 32u;

@compute @workgroup_size(64)
fn attention_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    // Neighbours are neighbouring queries of one head, so that they read the same key at a time.
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let t = i % p.queries;
    let parts = (p.e + COLUMNS - 1u) / COLUMNS;
    let part = i / p.queries % parts;
    let h = i / p.queries / parts % p.heads;
    let b = i / p.queries / parts / p.heads;
    if b >= p.batch { return; }
    let stat = (p.first + b * p.queries + t) * p.heads + h;
    let stride = p.kv_heads * p.e;
    let first = (p.first + b * p.keys) * stride + h / (p.heads / p.kv_heads) * p.e;
    var top = -3.0e38;
    var sum = 0.0;
    var acc: array<f32, COLUMNS>;
    for (var s = 0u; s <= p.start + t; s++) {
        let key = first + s * stride;
        var score = 0.0;
        // A loop of constant length is unrolled: llvmpipe ends an invocation's loops after 65,535
        // turns.
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
    for (var j = 0u; j < COLUMNS; j++) {
        let e = part * COLUMNS + j;
        if e < p.e { y[stat * p.e + e] = acc[j] / sum; }
    }
    if part == 0u { lse[stat] = top + log(sum); }
}
