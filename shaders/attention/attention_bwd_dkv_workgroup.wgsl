// attention_bwd_dkv: tiles of queries in shared memory; 32 keys of a kv head and 64 columns a workgroup.
// roles: none   uses: attention_tile
// dispatch: (B·G·⌈S/32⌉·⌈E/64⌉)   writes: dk =, dv =   source: Dao 2023 (FlashAttention-2), alg. 2

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
@group(0) @binding(7) var<storage, read_write> dk:    array<f32>;  // (B·S, G·E)
@group(0) @binding(8) var<storage, read_write> dv:    array<f32>;  // (B·S, G·E)

// Rows are keys, columns queries. What is staged and weighed fills the 16 KiB that every device
// has.
const WEIGHTS = 512u;
const SLOPES = 256u;  // where the second half of the weights begins

// Stores the columns that exist.
fn put_dk(at: u32, column: u32, value: vec4f) {
    if column < p.e { dk[at + column] = value.x; }
    if column + 1u < p.e { dk[at + column + 1u] = value.y; }
    if column + 2u < p.e { dk[at + column + 2u] = value.z; }
    if column + 3u < p.e { dk[at + column + 3u] = value.w; }
}

// Stores the columns that exist.
fn put_dv(at: u32, column: u32, value: vec4f) {
    if column < p.e { dv[at + column] = value.x; }
    if column + 1u < p.e { dv[at + column + 1u] = value.y; }
    if column + 2u < p.e { dv[at + column + 2u] = value.z; }
    if column + 3u < p.e { dv[at + column + 3u] = value.w; }
}

@compute @workgroup_size(64)
fn attention_bwd_dkv(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let id = group.x + group.y * groups.x;
    let i = lane / 8u;
    let j = lane % 8u;
    let parts = (p.e + 63u) / 64u;
    let part = id % parts * 64u;
    let tiles = (p.keys + 31u) / 32u;
    let tile = id / parts % tiles * 32u;
    let g = id / parts / tiles % p.kv_heads;
    let b = id / parts / tiles / p.kv_heads;
    if b >= p.batch { return; }
    let stride = p.kv_heads * p.e;
    let width = p.heads * p.e;
    let key_first = (p.first + b * p.keys) * stride + g * p.e;
    let shared_by = p.heads / p.kv_heads;
    let own = vec4u(0u, 1u, 2u, 3u) + tile + i * 4u;
    var dks = Sums();
    var dvs = Sums();
    for (var h = g * shared_by; h < (g + 1u) * shared_by; h++) {
        let first = (p.first + b * p.queries) * width + h * p.e;
        for (var t = max(tile, p.start) - p.start; t < p.queries; t += 32u) {
            var scores = mat4x4f();
            for (var column = 0u; column < p.e; column += 32u) {
                workgroupBarrier();
                for (var n = lane; n < 256u; n += 64u) {
                    let e = min(column + n % 32u, p.e - 1u);
                    let key = key_first + fours(tile + n / 32u * 4u, p.keys) * stride + e;
                    let query = first + fours(t + n / 32u * 4u, p.queries) * width + e;
                    let x = vec4f(k[key.x], k[key.y], k[key.z], k[key.w]);
                    let z = vec4f(q[query.x], q[query.y], q[query.z], q[query.w]);
                    stage_pair(column, n, x, z);
                }
                workgroupBarrier();
                scores = add_scores(scores, i, j);
            }
            // Queries that do not see a key, or do not exist, weigh nothing. The weights wait in
            // shared memory: beside slopes and sums they do not fit into the M1's registers.
            for (var c = 0u; c < 4u; c++) {
                let query = t + j * 4u + c;
                let stat = (p.first + b * p.queries + min(query, p.queries - 1u)) * p.heads + h;
                let seen = (own <= vec4u(p.start + query)) & vec4<bool>(query < p.queries);
                scores[c] = select(vec4f(), exp(scores[c] * p.scale - lse[stat]), seen);
            }
            put_weights(0u, i, j, scores);
            var slopes = mat4x4f();
            for (var column = 0u; column < p.e; column += 32u) {
                workgroupBarrier();
                for (var n = lane; n < 256u; n += 64u) {
                    let e = min(column + n % 32u, p.e - 1u);
                    let key = key_first + fours(tile + n / 32u * 4u, p.keys) * stride + e;
                    let query = first + fours(t + n / 32u * 4u, p.queries) * width + e;
                    let x = vec4f(v[key.x], v[key.y], v[key.z], v[key.w]);
                    let z = vec4f(dy[query.x], dy[query.y], dy[query.z], dy[query.w]);
                    stage_pair(column, n, x, z);
                }
                workgroupBarrier();
                slopes = add_scores(slopes, i, j);
            }
            for (var c = 0u; c < 4u; c++) {
                let query = min(t + j * 4u + c, p.queries - 1u);
                let stat = (p.first + b * p.queries + query) * p.heads + h;
                slopes[c] = own_weights(0u, i, j, c) * (slopes[c] - delta[stat]) * p.scale;
            }
            put_weights(SLOPES, i, j, slopes);
            workgroupBarrier();
            for (var n = lane; n < 512u; n += 64u) {
                let at = first + min(t + n / 16u, p.queries - 1u) * width + elements(part, n);
                stage[n] = vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
            }
            workgroupBarrier();
            dvs = add_weighed(dvs, 0u, i, j);
            workgroupBarrier();
            for (var n = lane; n < 512u; n += 64u) {
                let at = first + min(t + n / 16u, p.queries - 1u) * width + elements(part, n);
                stage[n] = vec4f(q[at.x], q[at.y], q[at.z], q[at.w]);
            }
            workgroupBarrier();
            dks = add_weighed(dks, SLOPES, i, j);
        }
    }
    let e = part + j * 4u;
    for (var r = 0u; r < 4u; r++) {
        if own[r] < p.keys {
            let at = key_first + own[r] * stride;
            put_dk(at, e, dks.low[r]);
            put_dk(at, e + 32u, dks.high[r]);
            put_dv(at, e, dvs.low[r]);
            put_dv(at, e + 32u, dvs.high[r]);
        }
    }
}
