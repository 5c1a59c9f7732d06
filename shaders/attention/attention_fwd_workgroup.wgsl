// attention_fwd: tiles of keys in shared memory; 32 rows of a kv head and 64 columns a workgroup.
// roles: none   uses: attention_pairs
// dispatch: (B·G·⌈T·(H/G)/32⌉·⌈E/64⌉)   writes: y =, lse =   source: Dao 2023 (FlashAttention-2), alg. 1

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

const WEIGHTS = 256u;

var<workgroup> shares: array<vec4f, 64>;  // (8 quads of keys, 8 quads of rows)

// Stores the columns that exist.
fn put_y(at: u32, column: u32, value: vec4f) {
    if column < p.e { y[at + column] = value.x; }
    if column + 1u < p.e { y[at + column + 1u] = value.y; }
    if column + 2u < p.e { y[at + column + 2u] = value.z; }
    if column + 3u < p.e { y[at + column + 3u] = value.w; }
}

@compute @workgroup_size(64)
fn attention_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = tile_of(group.x + group.y * groups.x);
    if tile.b >= p.batch { return; }
    let i = lane / 8u;
    let j = lane % 8u;
    let stride = p.kv_heads * p.e;
    let first = (p.first + tile.b * p.keys) * stride + tile.g * p.e;
    let end = keys_seen(tile);
    put_places(tile, lane);
    let last = pairs_of(tile, i) / sharing() + p.start;
    var top = vec4f(-3.0e38);
    var sum = vec4f();
    var sums = Sums();
    for (var s = 0u; s < end; s += 32u) {
        var scores = mat4x4f();
        for (var column = 0u; column < p.e; column += 32u) {
            workgroupBarrier();
            stage_keys(lane, first, s, column);
            workgroupBarrier();
            scores = add_scores(scores, i, j);
        }
        // Keys beyond a row's last weigh nothing; the first key of the first tile is seen by all.
        let key = s + j * 4u;
        scores[0] = select(vec4f(-3.0e38), scores[0] * p.scale, vec4u(key) <= last);
        scores[1] = select(vec4f(-3.0e38), scores[1] * p.scale, vec4u(key + 1u) <= last);
        scores[2] = select(vec4f(-3.0e38), scores[2] * p.scale, vec4u(key + 2u) <= last);
        scores[3] = select(vec4f(-3.0e38), scores[3] * p.scale, vec4u(key + 3u) <= last);
        shares[j * 8u + i] = max(max(scores[0], scores[1]), max(scores[2], scores[3]));
        workgroupBarrier();
        var higher = top;
        for (var n = 0u; n < 8u; n++) { higher = max(higher, shares[n * 8u + i]); }
        let keep = exp(top - higher);
        top = higher;
        scores[0] = exp(scores[0] - top);
        scores[1] = exp(scores[1] - top);
        scores[2] = exp(scores[2] - top);
        scores[3] = exp(scores[3] - top);
        sum = sum * keep + scores[0] + scores[1] + scores[2] + scores[3];
        put_weights(0u, i, j, scores);
        sums.low[0] *= keep.x;
        sums.low[1] *= keep.y;
        sums.low[2] *= keep.z;
        sums.low[3] *= keep.w;
        sums.high[0] *= keep.x;
        sums.high[1] *= keep.y;
        sums.high[2] *= keep.z;
        sums.high[3] *= keep.w;
        for (var n = lane; n < 512u; n += 64u) {
            let at = first + min(s + n / 16u, p.keys - 1u) * stride + elements(tile.part, n);
            stage[n] = vec4f(v[at.x], v[at.y], v[at.z], v[at.w]);
        }
        workgroupBarrier();
        sums = add_weighed(sums, 0u, i, j);
    }
    // Each lane has summed its own keys.
    workgroupBarrier();
    shares[j * 8u + i] = sum;
    workgroupBarrier();
    var total = vec4f();
    for (var n = 0u; n < 8u; n++) { total += shares[n * 8u + i]; }
    let e = tile.part + j * 4u;
    for (var r = 0u; r < 4u; r++) {
        if tile.row + i * 4u + r < p.queries * sharing() {
            put_y(place[i * 4u + r], e, sums.low[r] / total[r]);
            put_y(place[i * 4u + r], e + 32u, sums.high[r] / total[r]);
        }
    }
    if tile.part == 0u && j < 4u && tile.row + i * 4u + j < p.queries * sharing() {
        lse[place[i * 4u + j] / p.e] = top[j] + log(total[j]);
    }
}
