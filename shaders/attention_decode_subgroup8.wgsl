// attention_decode: as the baseline; keys loaded once per subgroup, 8 heads of a kv head a workgroup.
// roles: head
// dispatch: (B·G·⌈(H/G)/8⌉)   writes: y, keys, values =   source: Dao 2023 (FlashAttention-2), alg. 1

struct Params {
    batch: u32, keys: u32, start: u32, heads: u32, kv_heads: u32, e: u32, positions: u32, k: u32, v: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform>             p:         Params;
@group(0) @binding(1) var<storage, read>       qkv:       array<vec4f>;  // (B, H·E); k, v (B, G·E) behind
@group(0) @binding(2) var<storage, read>       cos:       array<f32>;    // (P, E/2)
@group(0) @binding(3) var<storage, read>       sin:       array<f32>;    // (P, E/2)
@group(0) @binding(4) var<storage, read>       positions: array<u32>;    // (B), each below P
@group(0) @binding(5) var<storage, read_write> keys:      array<f32>;    // (B·S, G·E)
@group(0) @binding(6) var<storage, read_write> values:    array<f32>;    // (B·S, G·E)
@group(0) @binding(7) var<storage, read_write> y:         array<vec4f>;  // (B, H·E)

const PARTS: u32 = HEAD / 8u;

// A head's row in parts of eight columns.
struct Row { lo: array<vec4f, PARTS>, hi: array<vec4f, PARTS> }

fn lo(x: f32) -> vec4f {
    return vec4f(
        subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u),
        subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u),
    );
}

fn hi(x: f32) -> vec4f {
    return vec4f(
        subgroupBroadcast(x, 4u), subgroupBroadcast(x, 5u),
        subgroupBroadcast(x, 6u), subgroupBroadcast(x, 7u),
    );
}

fn add_dot(sum: f32, a: vec4f, b: vec4f) -> f32 {
    return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, fma(a.w, b.w, sum))));
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
    let stride = p.kv_heads * HEAD;
    let first = b * p.keys * stride + g * HEAD + lane;

    // A lane has columns lane + 8c of the newest key and value, and a head's whole query; lanes beyond the
    // last head repeat it and store nothing.
    let head = (b * p.heads + g * shared_by + min(tile + lane, shared_by - 1u)) * (HEAD / 4u);
    let origin = (b * p.kv_heads + g) * HEAD + lane;
    let angle = min(positions[b], p.positions - 1u) * (HEAD / 2u) + lane;
    var key: array<f32, PARTS>;
    var value: array<f32, PARTS>;
    var query: Row;
    for (var c = 0u; c < PARTS; c++) {
        let ki = p.k + origin + 8u * c;
        let vi = p.v + origin + 8u * c;
        key[c] = qkv[ki / 4u][ki % 4u];
        value[c] = qkv[vi / 4u][vi % 4u];
        query.lo[c] = qkv[head + 2u * c] * p.scale;
        query.hi[c] = qkv[head + 2u * c + 1u] * p.scale;
    }
    for (var c = 0u; c < PARTS / 2u; c++) {
        let d = c + PARTS / 2u;
        let cosine = cos[angle + 8u * c];
        let sine = sin[angle + 8u * c];
        let k = key[c];
        key[c] = k * cosine - key[d] * sine;
        key[d] = key[d] * cosine + k * sine;
        let l = query.lo[c];
        query.lo[c] = l * lo(cosine) - query.lo[d] * lo(sine);
        query.lo[d] = query.lo[d] * lo(cosine) + l * lo(sine);
        let h = query.hi[c];
        query.hi[c] = h * hi(cosine) - query.hi[d] * hi(sine);
        query.hi[d] = query.hi[d] * hi(cosine) + h * hi(sine);
    }
    var top = 0.0;
    var acc: Row;
    for (var c = 0u; c < PARTS; c++) {
        top = add_dot(add_dot(top, query.lo[c], lo(key[c])), query.hi[c], hi(key[c]));
        acc.lo[c] = lo(value[c]);
        acc.hi[c] = hi(value[c]);
        if tile == 0u {
            keys[first + p.start * stride + 8u * c] = key[c];
            values[first + p.start * stride + 8u * c] = value[c];
        }
    }

    var sum = 1.0;
    for (var s = 0u; s < p.start; s += 4u) {
        // Keys beyond the last are read as the last and weigh nothing.
        let at = vec4u(s, s + 1u, s + 2u, s + 3u);
        let base = first + min(at, vec4u(p.start - 1u)) * stride;
        var weight: vec4f;
        for (var c = 0u; c < PARTS; c++) {
            let k = base + c * 8u;
            let x = vec4f(keys[k.x], keys[k.y], keys[k.z], keys[k.w]);
            let l = query.lo[c];
            let h = query.hi[c];
            weight.x = add_dot(add_dot(weight.x, l, lo(x.x)), h, hi(x.x));
            weight.y = add_dot(add_dot(weight.y, l, lo(x.y)), h, hi(x.y));
            weight.z = add_dot(add_dot(weight.z, l, lo(x.z)), h, hi(x.z));
            weight.w = add_dot(add_dot(weight.w, l, lo(x.w)), h, hi(x.w));
        }
        let score = select(vec4f(-3.0e38), weight, at < vec4u(p.start));
        let higher = max(max(top, max(score.x, score.y)), max(score.z, score.w));
        let w = exp(score - higher);
        let keep = exp(top - higher);
        sum = sum * keep + w.x + w.y + w.z + w.w;
        top = higher;
        for (var c = 0u; c < PARTS; c++) {
            let v = base + c * 8u;
            let x = vec4f(values[v.x], values[v.y], values[v.z], values[v.w]);
            let l = fma(w.zzzz, lo(x.z), fma(w.wwww, lo(x.w), acc.lo[c] * keep));
            let h = fma(w.zzzz, hi(x.z), fma(w.wwww, hi(x.w), acc.hi[c] * keep));
            acc.lo[c] = fma(w.xxxx, lo(x.x), fma(w.yyyy, lo(x.y), l));
            acc.hi[c] = fma(w.xxxx, hi(x.x), fma(w.yyyy, hi(x.y), h));
        }
    }
    if tile + lane < shared_by {
        for (var c = 0u; c < PARTS; c++) {
            y[head + c * 2u] = acc.lo[c] / sum;
            y[head + c * 2u + 1u] = acc.hi[c] / sum;
        }
    }
}
