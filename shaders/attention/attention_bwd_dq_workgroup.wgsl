// attention_bwd_dq: tiles of keys in shared memory; 32 rows of a kv head and 64 columns a workgroup.
// roles: none
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

// A workgroup of 8·8 lanes has a tile of 32 rows by 32 keys, four by four per lane (lane = 8·i + j), and
// 64 columns of the result. A row is a pair of a query and one of the heads that share its keys.
var<workgroup> stage: array<vec4f, 512>;   // 32 columns of rows and of keys; or 64 columns of keys
var<workgroup> weight: array<vec4f, 256>;  // (32 keys, 8 quads of rows)
var<workgroup> place: array<u32, 32>;      // first element of each row

// Place in `stage` of a quad of rows in a column: turned by the column, so that banks differ.
fn turned(column: u32, quad: u32) -> u32 {
    return column * 8u + (quad ^ (column % 8u));
}

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
    let id = group.x + group.y * groups.x;
    let i = lane / 8u;
    let j = lane % 8u;
    let parts = (p.e + 63u) / 64u;
    let part = id % parts * 64u;
    let shared_by = p.heads / p.kv_heads;
    let pairs = p.queries * shared_by;
    let tiles = (pairs + 31u) / 32u;
    let tile = id / parts % tiles * 32u;
    let g = id / parts / tiles % p.kv_heads;
    let b = id / parts / tiles / p.kv_heads;
    if b >= p.batch { return; }
    let stride = p.kv_heads * p.e;
    let first = (p.first + b * p.keys) * stride + g * p.e;
    let end = min((tile + 31u) / shared_by, p.queries - 1u) + p.start + 1u;
    if lane < 32u {
        // Rows beyond the last repeat it and store nothing.
        let pair = min(tile + lane, pairs - 1u);
        let t = p.first + b * p.queries + pair / shared_by;
        place[lane] = (t * p.heads + g * shared_by + pair % shared_by) * p.e;
    }
    let row = min(vec4u(0u, 1u, 2u, 3u) + tile + i * 4u, vec4u(pairs - 1u));
    let last = row / shared_by + p.start;
    let query = p.first + b * p.queries + row / shared_by;
    let stat = query * p.heads + g * shared_by + row % shared_by;
    let lses = vec4f(lse[stat.x], lse[stat.y], lse[stat.z], lse[stat.w]);
    let deltas = vec4f(delta[stat.x], delta[stat.y], delta[stat.z], delta[stat.w]);
    var lo0 = vec4f();
    var lo1 = vec4f();
    var lo2 = vec4f();
    var lo3 = vec4f();
    var hi0 = vec4f();
    var hi1 = vec4f();
    var hi2 = vec4f();
    var hi3 = vec4f();
    for (var s = 0u; s < end; s += 32u) {
        var s0 = vec4f();
        var s1 = vec4f();
        var s2 = vec4f();
        var s3 = vec4f();
        var d0 = vec4f();
        var d1 = vec4f();
        var d2 = vec4f();
        var d3 = vec4f();
        for (var column = 0u; column < p.e; column += 32u) {
            workgroupBarrier();
            for (var n = lane; n < 256u; n += 64u) {
                let e = n % 32u;
                let m = n / 32u * 4u;
                let inside = column + e < p.e;
                let at = min(column + e, p.e - 1u);
                let key = min(vec4u(s + m) + vec4u(0u, 1u, 2u, 3u), vec4u(p.keys - 1u));
                let from_key = first + key * stride + at;
                let x = vec4f(q[place[m] + at], q[place[m + 1u] + at],
                    q[place[m + 2u] + at], q[place[m + 3u] + at]);
                let z = vec4f(k[from_key.x], k[from_key.y], k[from_key.z], k[from_key.w]);
                stage[turned(e, m / 4u)] = select(vec4f(), x, inside);
                stage[256u + turned(e, m / 4u)] = select(vec4f(), z, inside);
            }
            workgroupBarrier();
            for (var e = 0u; e < 32u; e++) {
                let x = stage[turned(e, i)];
                let z = stage[256u + turned(e, j)];
                s0 = fma(x, z.xxxx, s0);
                s1 = fma(x, z.yyyy, s1);
                s2 = fma(x, z.zzzz, s2);
                s3 = fma(x, z.wwww, s3);
            }
            workgroupBarrier();
            for (var n = lane; n < 256u; n += 64u) {
                let e = n % 32u;
                let m = n / 32u * 4u;
                let inside = column + e < p.e;
                let at = min(column + e, p.e - 1u);
                let key = min(vec4u(s + m) + vec4u(0u, 1u, 2u, 3u), vec4u(p.keys - 1u));
                let from_key = first + key * stride + at;
                let x = vec4f(dy[place[m] + at], dy[place[m + 1u] + at],
                    dy[place[m + 2u] + at], dy[place[m + 3u] + at]);
                let z = vec4f(v[from_key.x], v[from_key.y], v[from_key.z], v[from_key.w]);
                stage[turned(e, m / 4u)] = select(vec4f(), x, inside);
                stage[256u + turned(e, m / 4u)] = select(vec4f(), z, inside);
            }
            workgroupBarrier();
            for (var e = 0u; e < 32u; e++) {
                let x = stage[turned(e, i)];
                let z = stage[256u + turned(e, j)];
                d0 = fma(x, z.xxxx, d0);
                d1 = fma(x, z.yyyy, d1);
                d2 = fma(x, z.zzzz, d2);
                d3 = fma(x, z.wwww, d3);
            }
        }
        // Keys beyond a row's last weigh nothing.
        let key = s + j * 4u;
        let ds0 = exp(s0 * p.scale - lses) * (d0 - deltas) * p.scale;
        let ds1 = exp(s1 * p.scale - lses) * (d1 - deltas) * p.scale;
        let ds2 = exp(s2 * p.scale - lses) * (d2 - deltas) * p.scale;
        let ds3 = exp(s3 * p.scale - lses) * (d3 - deltas) * p.scale;
        weight[(j * 4u) * 8u + i] = select(vec4f(), ds0, vec4u(key) <= last);
        weight[(j * 4u + 1u) * 8u + i] = select(vec4f(), ds1, vec4u(key + 1u) <= last);
        weight[(j * 4u + 2u) * 8u + i] = select(vec4f(), ds2, vec4u(key + 2u) <= last);
        weight[(j * 4u + 3u) * 8u + i] = select(vec4f(), ds3, vec4u(key + 3u) <= last);
        workgroupBarrier();
        for (var n = lane; n < 512u; n += 64u) {
            let c = part + n % 16u * 4u;
            let column = min(vec4u(c, c + 1u, c + 2u, c + 3u), vec4u(p.e - 1u));
            let at = first + min(s + n / 16u, p.keys - 1u) * stride + column;
            stage[n] = vec4f(k[at.x], k[at.y], k[at.z], k[at.w]);
        }
        workgroupBarrier();
        for (var n = 0u; n < 32u; n++) {
            let w = weight[n * 8u + i];
            let l = stage[n * 16u + j];
            let h = stage[n * 16u + 8u + j];
            lo0 = fma(w.xxxx, l, lo0);
            lo1 = fma(w.yyyy, l, lo1);
            lo2 = fma(w.zzzz, l, lo2);
            lo3 = fma(w.wwww, l, lo3);
            hi0 = fma(w.xxxx, h, hi0);
            hi1 = fma(w.yyyy, h, hi1);
            hi2 = fma(w.zzzz, h, hi2);
            hi3 = fma(w.wwww, h, hi3);
        }
    }
    if tile + i * 4u + 0u < pairs {
        put_dq(place[i * 4u + 0u], part + j * 4u, lo0);
        put_dq(place[i * 4u + 0u], part + j * 4u + 32u, hi0);
    }
    if tile + i * 4u + 1u < pairs {
        put_dq(place[i * 4u + 1u], part + j * 4u, lo1);
        put_dq(place[i * 4u + 1u], part + j * 4u + 32u, hi1);
    }
    if tile + i * 4u + 2u < pairs {
        put_dq(place[i * 4u + 2u], part + j * 4u, lo2);
        put_dq(place[i * 4u + 2u], part + j * 4u + 32u, hi2);
    }
    if tile + i * 4u + 3u < pairs {
        put_dq(place[i * 4u + 3u], part + j * 4u, lo3);
        put_dq(place[i * 4u + 3u], part + j * 4u + 32u, hi3);
    }
}
