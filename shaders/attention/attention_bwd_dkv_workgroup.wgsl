// attention_bwd_dkv: tiles of queries in shared memory; 32 keys of a kv head and 64 columns a workgroup.
// roles: none
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

// A workgroup of 8·8 lanes has a tile of 32 keys by 32 queries, four by four per lane (lane = 8·i + j), and
// 64 columns of the results. These three arrays fill the 16 KiB that every device has.
var<workgroup> stage: array<vec4f, 512>;   // 32 columns of keys and of queries; or 64 columns of queries
var<workgroup> weight: array<vec4f, 256>;  // (32 queries, 8 quads of keys)
var<workgroup> slope: array<vec4f, 256>;   // (32 queries, 8 quads of keys)

// Place in `stage` of a quad of rows in a column: turned by the column, so that banks differ.
fn turned(column: u32, quad: u32) -> u32 {
    return column * 8u + (quad ^ (column % 8u));
}

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
    var k_lo0 = vec4f();
    var k_lo1 = vec4f();
    var k_lo2 = vec4f();
    var k_lo3 = vec4f();
    var k_hi0 = vec4f();
    var k_hi1 = vec4f();
    var k_hi2 = vec4f();
    var k_hi3 = vec4f();
    var v_lo0 = vec4f();
    var v_lo1 = vec4f();
    var v_lo2 = vec4f();
    var v_lo3 = vec4f();
    var v_hi0 = vec4f();
    var v_hi1 = vec4f();
    var v_hi2 = vec4f();
    var v_hi3 = vec4f();
    for (var h = g * shared_by; h < (g + 1u) * shared_by; h++) {
        let first = (p.first + b * p.queries) * width + h * p.e;
        for (var t = max(tile, p.start) - p.start; t < p.queries; t += 32u) {
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
                    let m = vec4u(0u, 1u, 2u, 3u) + n / 32u * 4u;
                    let inside = column + e < p.e;
                    let at = min(column + e, p.e - 1u);
                    let key = key_first + min(tile + m, vec4u(p.keys - 1u)) * stride + at;
                    let query = first + min(t + m, vec4u(p.queries - 1u)) * width + at;
                    let x = vec4f(k[key.x], k[key.y], k[key.z], k[key.w]);
                    let z = vec4f(q[query.x], q[query.y], q[query.z], q[query.w]);
                    stage[turned(e, n / 32u)] = select(vec4f(), x, inside);
                    stage[256u + turned(e, n / 32u)] = select(vec4f(), z, inside);
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
                    let m = vec4u(0u, 1u, 2u, 3u) + n / 32u * 4u;
                    let inside = column + e < p.e;
                    let at = min(column + e, p.e - 1u);
                    let key = key_first + min(tile + m, vec4u(p.keys - 1u)) * stride + at;
                    let query = first + min(t + m, vec4u(p.queries - 1u)) * width + at;
                    let x = vec4f(v[key.x], v[key.y], v[key.z], v[key.w]);
                    let z = vec4f(dy[query.x], dy[query.y], dy[query.z], dy[query.w]);
                    stage[turned(e, n / 32u)] = select(vec4f(), x, inside);
                    stage[256u + turned(e, n / 32u)] = select(vec4f(), z, inside);
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
            // Queries that do not see a key, or do not exist, weigh nothing.
            let t0 = t + j * 4u + 0u;
            let stat0 = (p.first + b * p.queries + min(t0, p.queries - 1u)) * p.heads + h;
            let seen0 = (own <= vec4u(p.start + t0)) & vec4<bool>(t0 < p.queries);
            let w0 = select(vec4f(), exp(s0 * p.scale - lse[stat0]), seen0);
            weight[(j * 4u + 0u) * 8u + i] = w0;
            slope[(j * 4u + 0u) * 8u + i] = w0 * (d0 - delta[stat0]) * p.scale;
            let t1 = t + j * 4u + 1u;
            let stat1 = (p.first + b * p.queries + min(t1, p.queries - 1u)) * p.heads + h;
            let seen1 = (own <= vec4u(p.start + t1)) & vec4<bool>(t1 < p.queries);
            let w1 = select(vec4f(), exp(s1 * p.scale - lse[stat1]), seen1);
            weight[(j * 4u + 1u) * 8u + i] = w1;
            slope[(j * 4u + 1u) * 8u + i] = w1 * (d1 - delta[stat1]) * p.scale;
            let t2 = t + j * 4u + 2u;
            let stat2 = (p.first + b * p.queries + min(t2, p.queries - 1u)) * p.heads + h;
            let seen2 = (own <= vec4u(p.start + t2)) & vec4<bool>(t2 < p.queries);
            let w2 = select(vec4f(), exp(s2 * p.scale - lse[stat2]), seen2);
            weight[(j * 4u + 2u) * 8u + i] = w2;
            slope[(j * 4u + 2u) * 8u + i] = w2 * (d2 - delta[stat2]) * p.scale;
            let t3 = t + j * 4u + 3u;
            let stat3 = (p.first + b * p.queries + min(t3, p.queries - 1u)) * p.heads + h;
            let seen3 = (own <= vec4u(p.start + t3)) & vec4<bool>(t3 < p.queries);
            let w3 = select(vec4f(), exp(s3 * p.scale - lse[stat3]), seen3);
            weight[(j * 4u + 3u) * 8u + i] = w3;
            slope[(j * 4u + 3u) * 8u + i] = w3 * (d3 - delta[stat3]) * p.scale;
            workgroupBarrier();
            for (var n = lane; n < 512u; n += 64u) {
                let c = part + n % 16u * 4u;
                let column = min(vec4u(c, c + 1u, c + 2u, c + 3u), vec4u(p.e - 1u));
                let at = first + min(t + n / 16u, p.queries - 1u) * width + column;
                stage[n] = vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
            }
            workgroupBarrier();
            for (var n = 0u; n < 32u; n++) {
                let w = weight[n * 8u + i];
                let l = stage[n * 16u + j];
                let h = stage[n * 16u + 8u + j];
                v_lo0 = fma(w.xxxx, l, v_lo0);
                v_lo1 = fma(w.yyyy, l, v_lo1);
                v_lo2 = fma(w.zzzz, l, v_lo2);
                v_lo3 = fma(w.wwww, l, v_lo3);
                v_hi0 = fma(w.xxxx, h, v_hi0);
                v_hi1 = fma(w.yyyy, h, v_hi1);
                v_hi2 = fma(w.zzzz, h, v_hi2);
                v_hi3 = fma(w.wwww, h, v_hi3);
            }
            workgroupBarrier();
            for (var n = lane; n < 512u; n += 64u) {
                let c = part + n % 16u * 4u;
                let column = min(vec4u(c, c + 1u, c + 2u, c + 3u), vec4u(p.e - 1u));
                let at = first + min(t + n / 16u, p.queries - 1u) * width + column;
                stage[n] = vec4f(q[at.x], q[at.y], q[at.z], q[at.w]);
            }
            workgroupBarrier();
            for (var n = 0u; n < 32u; n++) {
                let w = slope[n * 8u + i];
                let l = stage[n * 16u + j];
                let h = stage[n * 16u + 8u + j];
                k_lo0 = fma(w.xxxx, l, k_lo0);
                k_lo1 = fma(w.yyyy, l, k_lo1);
                k_lo2 = fma(w.zzzz, l, k_lo2);
                k_lo3 = fma(w.wwww, l, k_lo3);
                k_hi0 = fma(w.xxxx, h, k_hi0);
                k_hi1 = fma(w.yyyy, h, k_hi1);
                k_hi2 = fma(w.zzzz, h, k_hi2);
                k_hi3 = fma(w.wwww, h, k_hi3);
            }
        }
    }
    if own[0] < p.keys {
        let at = key_first + own[0] * stride;
        put_dk(at, part + j * 4u, k_lo0);
        put_dk(at, part + j * 4u + 32u, k_hi0);
        put_dv(at, part + j * 4u, v_lo0);
        put_dv(at, part + j * 4u + 32u, v_hi0);
    }
    if own[1] < p.keys {
        let at = key_first + own[1] * stride;
        put_dk(at, part + j * 4u, k_lo1);
        put_dk(at, part + j * 4u + 32u, k_hi1);
        put_dv(at, part + j * 4u, v_lo1);
        put_dv(at, part + j * 4u + 32u, v_hi1);
    }
    if own[2] < p.keys {
        let at = key_first + own[2] * stride;
        put_dk(at, part + j * 4u, k_lo2);
        put_dk(at, part + j * 4u + 32u, k_hi2);
        put_dv(at, part + j * 4u, v_lo2);
        put_dv(at, part + j * 4u + 32u, v_hi2);
    }
    if own[3] < p.keys {
        let at = key_first + own[3] * stride;
        put_dk(at, part + j * 4u, k_lo3);
        put_dk(at, part + j * 4u + 32u, k_hi3);
        put_dv(at, part + j * 4u, v_lo3);
        put_dv(at, part + j * 4u + 32u, v_hi3);
    }
}
