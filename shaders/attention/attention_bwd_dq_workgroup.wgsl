// attention_bwd_dq: tiles of keys in shared memory; 32 rows of a kv head and 64 columns a workgroup.
// roles: none   uses: attention_pairs
// dispatch: (B·G·⌈T·(H/G)/32⌉·⌈E/64⌉)   writes: dq =   source: Dao 2023 (FlashAttention-2), alg. 2

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
    first: u32,  // rows before these queries, and before these keys
}

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       q:     array<f32>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       k:     array<f32>;  // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:     array<f32>;  // (B·S, G·E)
@group(0) @binding(4) var<storage, read>       dy:    array<f32>;  // (B·T, H·E)
@group(0) @binding(5) var<storage, read>       lse:   array<f32>;  // (B·T, H), from attention_fwd
@group(0) @binding(6) var<storage, read>       delta: array<f32>;  // (B·T, H), from attention_delta
@group(0) @binding(7) var<storage, read_write> dq:    array<f32>;  // (B·T, H·E)

const WEIGHTS = 256u;

// Stores the columns that exist.
fn put_dq(at: u32, column: u32, value: vec4f) {
    if column < p.e { dq[at + column] = value.x; }
    if column + 1u < p.e { dq[at + column + 1u] = value.y; }
    if column + 2u < p.e { dq[at + column + 2u] = value.z; }
    if column + 3u < p.e { dq[at + column + 3u] = value.w; }
}

@compute @workgroup_size(64)
fn attention_bwd_dq(
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
    let row = pairs_of(tile, i);
    let last = row / sharing() + p.start;
    let end = keys_seen(tile);
    put_places(tile, lane);
    let stat = vec4u(
        stat_of(tile, row.x), stat_of(tile, row.y), stat_of(tile, row.z), stat_of(tile, row.w),
    );
    let lses = vec4f(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
    let deltas = vec4f(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
    var sums = Sums();
    for (var s = 0u; s < end; s += 32u) {
        var scores = mat4x4f();
        var slopes = mat4x4f();
        for (var column = 0u; column < p.e; column += 32u) {
            workgroupBarrier();
            stage_keys(lane, first, s, column);
            workgroupBarrier();
            scores = add_scores(scores, i, j);
            workgroupBarrier();
            for (var n = lane; n < 256u; n += 64u) {
                let e = min(column + n % 32u, p.e - 1u);
                let from_key = first + fours(s + n / 32u * 4u, p.keys) * stride + e;
                let at = places(n / 32u, e);
                let x = vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
                let z = vec4f(v[from_key.x], v[from_key.y], v[from_key.z], v[from_key.w]);
                stage_pair(column, n, x, z);
            }
            workgroupBarrier();
            slopes = add_scores(slopes, i, j);
        }
        // Keys beyond a row's last weigh nothing.
        let key = s + j * 4u;
        let ds0 = exp(scores[0] * p.scale - lses) * (slopes[0] - deltas) * p.scale;
        let ds1 = exp(scores[1] * p.scale - lses) * (slopes[1] - deltas) * p.scale;
        let ds2 = exp(scores[2] * p.scale - lses) * (slopes[2] - deltas) * p.scale;
        let ds3 = exp(scores[3] * p.scale - lses) * (slopes[3] - deltas) * p.scale;
        put_weights(0u, i, j, mat4x4f(
            select(vec4f(), ds0, vec4u(key) <= last),
            select(vec4f(), ds1, vec4u(key + 1u) <= last),
            select(vec4f(), ds2, vec4u(key + 2u) <= last),
            select(vec4f(), ds3, vec4u(key + 3u) <= last),
        ));
        workgroupBarrier();
        for (var n = lane; n < 512u; n += 64u) {
            let at = first + min(s + n / 16u, p.keys - 1u) * stride + elements(tile.part, n);
            stage[n] = vec4f(k[at.x], k[at.y], k[at.z], k[at.w]);
        }
        workgroupBarrier();
        sums = add_weighed(sums, 0u, i, j);
    }
    let e = tile.part + j * 4u;
    for (var r = 0u; r < 4u; r++) {
        if tile.row + i * 4u + r < p.queries * sharing() {
            put_dq(place[i * 4u + r], e, sums.low[r]);
            put_dq(place[i * 4u + r], e + 32u, sums.high[r]);
        }
    }
}
