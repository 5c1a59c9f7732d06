// attention_fwd: tiles of keys in shared memory; 32 rows of a kv head and 64 columns a workgroup.
// roles: none
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

// A workgroup of 8·8 lanes has a tile of 32 rows by 32 keys, four by four per lane (lane = 8·i + j), and
// 64 columns of the result. A row is a pair of a query and one of the heads that share its keys.
var<workgroup> stage: array<vec4f, 512>;   // 32 columns of rows and of keys; or 64 columns of keys
var<workgroup> weight: array<vec4f, 256>;  // (32 keys, 8 quads of rows)
var<workgroup> shares: array<vec4f, 64>;   // (8 quads of keys, 8 quads of rows)
var<workgroup> place: array<u32, 32>;      // first element of each row

// Place in `stage` of a quad of rows in a column: turned by the column, so that banks differ.
fn turned(column: u32, quad: u32) -> u32 {
    return column * 8u + (quad ^ (column % 8u));
}

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
    var top = vec4f(-3.0e38);
    var sum = vec4f();
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
        }
        // Keys beyond a row's last weigh nothing; the first key of the first tile is seen by all.
        let key = s + j * 4u;
        s0 = select(vec4f(-3.0e38), s0 * p.scale, vec4u(key) <= last);
        s1 = select(vec4f(-3.0e38), s1 * p.scale, vec4u(key + 1u) <= last);
        s2 = select(vec4f(-3.0e38), s2 * p.scale, vec4u(key + 2u) <= last);
        s3 = select(vec4f(-3.0e38), s3 * p.scale, vec4u(key + 3u) <= last);
        shares[j * 8u + i] = max(max(s0, s1), max(s2, s3));
        workgroupBarrier();
        var higher = top;
        for (var n = 0u; n < 8u; n++) { higher = max(higher, shares[n * 8u + i]); }
        let keep = exp(top - higher);
        top = higher;
        s0 = exp(s0 - top);
        s1 = exp(s1 - top);
        s2 = exp(s2 - top);
        s3 = exp(s3 - top);
        sum = sum * keep + s0 + s1 + s2 + s3;
        weight[(j * 4u) * 8u + i] = s0;
        weight[(j * 4u + 1u) * 8u + i] = s1;
        weight[(j * 4u + 2u) * 8u + i] = s2;
        weight[(j * 4u + 3u) * 8u + i] = s3;
        lo0 *= keep.x;
        lo1 *= keep.y;
        lo2 *= keep.z;
        lo3 *= keep.w;
        hi0 *= keep.x;
        hi1 *= keep.y;
        hi2 *= keep.z;
        hi3 *= keep.w;
        for (var n = lane; n < 512u; n += 64u) {
            let c = part + n % 16u * 4u;
            let column = min(vec4u(c, c + 1u, c + 2u, c + 3u), vec4u(p.e - 1u));
            let at = first + min(s + n / 16u, p.keys - 1u) * stride + column;
            stage[n] = vec4f(v[at.x], v[at.y], v[at.z], v[at.w]);
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
    // Each lane has summed its own keys.
    workgroupBarrier();
    shares[j * 8u + i] = sum;
    workgroupBarrier();
    var total = vec4f();
    for (var n = 0u; n < 8u; n++) { total += shares[n * 8u + i]; }
    if tile + i * 4u + 0u < pairs {
        put_y(place[i * 4u + 0u], part + j * 4u, lo0 / total.x);
        put_y(place[i * 4u + 0u], part + j * 4u + 32u, hi0 / total.x);
    }
    if tile + i * 4u + 1u < pairs {
        put_y(place[i * 4u + 1u], part + j * 4u, lo1 / total.y);
        put_y(place[i * 4u + 1u], part + j * 4u + 32u, hi1 / total.y);
    }
    if tile + i * 4u + 2u < pairs {
        put_y(place[i * 4u + 2u], part + j * 4u, lo2 / total.z);
        put_y(place[i * 4u + 2u], part + j * 4u + 32u, hi2 / total.z);
    }
    if tile + i * 4u + 3u < pairs {
        put_y(place[i * 4u + 3u], part + j * 4u, lo3 / total.w);
        put_y(place[i * 4u + 3u], part + j * 4u + 32u, hi3 / total.w);
    }
    if part == 0u && j < 4u && tile + i * 4u + j < pairs {
        lse[place[i * 4u + j] / p.e] = top[j] + log(total[j]);
    }
}
