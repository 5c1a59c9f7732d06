// attention_decode: as the baseline; keys loaded once per subgroup, 8 heads of a kv head a workgroup.
// roles: head
// dispatch: (B·G·⌈(H/G)/8⌉)   writes: y, keys, values =   source: Dao 2023 (FlashAttention-2), alg. 1

struct Params {
    batch: u32, keys: u32, start: u32, heads: u32, kv_heads: u32, e: u32, positions: u32, k: u32, v: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read>       qkv:       array<vec4f>;  // (B, H·E); k, v (B, G·E) behind
@group(0) @binding(2) var<storage, read>       cos:       array<vec4f>;  // (P, E/2)
@group(0) @binding(3) var<storage, read>       sin:       array<vec4f>;  // (P, E/2)
@group(0) @binding(4) var<storage, read>       positions: array<u32>;    // (B), each below P
@group(0) @binding(5) var<storage, read_write> keys:      array<vec4f>;  // (B·S, G·E)
@group(0) @binding(6) var<storage, read_write> values:    array<vec4f>;  // (B·S, G·E)
@group(0) @binding(7) var<storage, read_write> y:         array<vec4f>;  // (B, H·E)

const QUADS: u32 = HEAD / 4u;

fn add_weighted(sum: vec4f, w: vec4f, x: mat4x4f) -> vec4f {
    return fma(w.xxxx, x[0], fma(w.yyyy, x[1], fma(w.zzzz, x[2], fma(w.wwww, x[3], sum))));
}

// Quad `c` of the head at `head`, rotated.
fn rotated(head: u32, c: u32, angle: u32, scale: f32) -> vec4f {
    let half = QUADS / 2u;
    let at = angle + c % half;
    let other = qkv[head + (c + half) % QUADS] * scale;
    return qkv[head + c] * scale * cos[at] + select(other, -other, c < half) * sin[at];
}

@compute @workgroup_size(8)
fn attention_decode(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x + group.y * groups.x;
    let shared_by = p.heads / p.kv_heads;
    let tiles = (shared_by + 7u) / 8u;
    let tile = i % tiles * 8u;
    let g = i / tiles % p.kv_heads;
    let b = i / tiles / p.kv_heads;
    if b >= p.batch { return; }
    let stride = p.kv_heads * QUADS;
    let first = b * p.keys * stride + g * QUADS + lane;

    // A lane has quads lane + 8j of the newest key and value, and a head's whole query; lanes
    // beyond the last head repeat it and store nothing.
    let head = (b * p.heads + g * shared_by + min(tile + lane, shared_by - 1u)) * QUADS;
    let origin = (b * p.kv_heads + g) * QUADS;
    let angle = min(positions[b], p.positions - 1u) * (QUADS / 2u);
    var query: Row;
    for (var c = 0u; c < p.e / 4u; c += 2u) {
        query = up(query);
        query[BLOCKS - 1u][6] = rotated(head, c, angle, p.scale);
        query[BLOCKS - 1u][7] = rotated(head, c + 1u, angle, p.scale);
    }
    var top = 0.0;
    var acc: Row;
    for (var j = 0u; j < BLOCKS; j++) {
        let key = rotated(p.k / 4u + origin, 8u * j + lane, angle, 1.0);
        let value = qkv[p.v / 4u + origin + 8u * j + lane];
        for (var c = 0u; c < 8u; c++) {
            top = add_dot(top, query[j][c], subgroupShuffle(key, c));
            acc[j][c] = subgroupShuffle(value, c);
        }
        if tile == 0u {
            keys[first + p.start * stride + 8u * j] = key;
            values[first + p.start * stride + 8u * j] = value;
        }
    }

    var sum = 1.0;
    for (var s = 0u; s < p.start; s += 4u) {
        // Keys beyond the last are read as the last and weigh nothing.
        let at = vec4u(s, s + 1u, s + 2u, s + 3u);
        let base = first + min(at, vec4u(p.start - 1u)) * stride;
        var weight: vec4f;
        for (var j = 0u; j < BLOCKS; j++) {
            let k = base + 8u * j;
            let x = mat4x4f(keys[k.x], keys[k.y], keys[k.z], keys[k.w]);
            for (var c = 0u; c < 8u; c++) { weight = add_dots(weight, query[j][c], quads(x, c)); }
        }
        let score = select(vec4f(-3.0e38), weight, at < vec4u(p.start));
        let higher = max(max(top, max(score.x, score.y)), max(score.z, score.w));
        let w = exp(score - higher);
        let keep = exp(top - higher);
        sum = sum * keep + w.x + w.y + w.z + w.w;
        top = higher;
        for (var j = 0u; j < BLOCKS; j++) {
            let v = base + 8u * j;
            let x = mat4x4f(values[v.x], values[v.y], values[v.z], values[v.w]);
            for (var c = 0u; c < 8u; c++) {
                acc[j][c] = add_weighted(acc[j][c] * keep, w, quads(x, c));
            }
        }
    }
    for (var c = 0u; c < p.e / 4u; c += 2u) {
        if tile + lane < shared_by {
            y[head + c] = acc[0][0] / sum;
            y[head + c + 1u] = acc[0][1] / sum;
        }
        acc = up(acc);
    }
}
