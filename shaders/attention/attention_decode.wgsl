// attention_decode: y = softmax(rope(q)·kᵀ/√E)·v of the newest token; its rope(k), v go to the cache first.
// roles: reduce
// dispatch: (B·H·⌈E/32⌉)   writes: y, keys, values =   source: Dao et al. 2023, Flash-Decoding
// The keys of a query lie over the lanes of a workgroup, which makes 32 columns. The newest key and
// value are taken from qkv: another workgroup writes them to the cache.

struct Params {
    batch: u32, keys: u32, start: u32, heads: u32, kv_heads: u32, e: u32, positions: u32, k: u32, v: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read>       qkv:       array<f32>;  // (B, H·E); k, v (B, G·E) behind
@group(0) @binding(2) var<storage, read>       cos:       array<f32>;  // (P, E/2)
@group(0) @binding(3) var<storage, read>       sin:       array<f32>;  // (P, E/2)
@group(0) @binding(4) var<storage, read>       positions: array<u32>;  // (B), each below P
@group(0) @binding(5) var<storage, read_write> keys:      array<f32>;  // (B·S, G·E)
@group(0) @binding(6) var<storage, read_write> values:    array<f32>;  // (B·S, G·E)
@group(0) @binding(7) var<storage, read_write> y:         array<f32>;  // (B, H·E)

override WG: u32 = 64u;
const COLUMNS: u32 = 32u;

var<workgroup> query: array<f32, 256>;
var<workgroup> newest: array<f32, 256>;

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
    if stat >= p.batch * p.heads { return; }
    let h = stat % p.heads;
    let b = stat / p.heads;
    let shared_by = p.heads / p.kv_heads;
    let stride = p.kv_heads * p.e;
    let first = b * p.keys * stride + h / shared_by * p.e;
    let from_k = p.k + b * stride + h / shared_by * p.e;
    let from_v = p.v + b * stride + h / shared_by * p.e;

    let half = p.e / 2u;
    for (var j = lane; j < half; j += WG) {
        // A position beyond the table would read foreign memory.
        let at = min(positions[b], p.positions - 1u) * half + j;
        let c = cos[at];
        let s = sin[at];
        let q0 = qkv[stat * p.e + j];
        let q1 = qkv[stat * p.e + j + half];
        query[j] = q0 * c - q1 * s;
        query[j + half] = q1 * c + q0 * s;
        let k0 = qkv[from_k + j];
        let k1 = qkv[from_k + j + half];
        newest[j] = k0 * c - k1 * s;
        newest[j + half] = k1 * c + k0 * s;
    }
    workgroupBarrier();
    if part == 0u && h % shared_by == 0u {
        for (var e = lane; e < p.e; e += WG) {
            keys[first + p.start * stride + e] = newest[e];
            values[first + p.start * stride + e] = qkv[from_v + e];
        }
    }

    // Lane 0 begins with the newest key.
    var top = -3.0e38;
    var sum = 0.0;
    var acc: array<f32, COLUMNS>;
    if lane == 0u {
        var score = 0.0;
        for (var e = 0u; e < p.e; e++) { score += query[e] * newest[e]; }
        top = score * p.scale;
        sum = 1.0;
        for (var j = 0u; j < COLUMNS; j++) { acc[j] = qkv[from_v + min(part * COLUMNS + j, p.e - 1u)]; }
    }
    for (var s = lane; s < p.start; s += WG) {
        let key = first + s * stride;
        var score = 0.0;
        // A loop of constant length is unrolled: llvmpipe ends an invocation's loops after 65,535
        // turns.
        for (var c = 0u; c < p.e; c += COLUMNS) {
            for (var j = 0u; j < COLUMNS; j++) {
                let e = min(c + j, p.e - 1u);
                score += select(0.0, query[e] * keys[key + e], c + j < p.e);
            }
        }
        score *= p.scale;
        let higher = max(top, score);
        let keep = exp(top - higher);
        let weight = exp(score - higher);
        top = higher;
        sum = sum * keep + weight;
        for (var j = 0u; j < COLUMNS; j++) {
            acc[j] = acc[j] * keep + weight * values[key + min(part * COLUMNS + j, p.e - 1u)];
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
