// attention_fwd: keys loaded once per subgroup; 8·ROWS rows of a kv head a workgroup.
// roles: head
// dispatch: (B·G·⌈T·(H/G)/(8·ROWS)⌉)   writes: y =, lse =   source: Dao 2023 (FlashAttention-2), alg. 1

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
    first: u32,  // rows before these queries, and before these keys
}

@group(0) @binding(0) var<uniform>             p:   Params;
@group(0) @binding(1) var<storage, read>       q:   array<vec4f>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       k:   array<vec4f>;  // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:   array<vec4f>;  // (B·S, G·E)
@group(0) @binding(4) var<storage, read_write> y:   array<vec4f>;  // (B·T, H·E)
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;    // (B·T, H), kept for attention_bwd_*

// A row is a pair of a query and one of the heads that share its keys.
const ROWS: u32 = 128u / HEAD;  // per lane

fn add_weighted(sum: vec4f, w: vec4f, x: mat4x4f) -> vec4f {
    return fma(w.xxxx, x[0], fma(w.yyyy, x[1], fma(w.zzzz, x[2], fma(w.wwww, x[3], sum))));
}

@compute @workgroup_size(8)
fn attention_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x + group.y * groups.x;
    let shared_by = p.heads / p.kv_heads;
    let pairs = p.queries * shared_by;
    let tiles = (pairs + 8u * ROWS - 1u) / (8u * ROWS);
    let tile = i % tiles * 8u * ROWS;
    let g = i / tiles % p.kv_heads;
    let b = i / tiles / p.kv_heads;
    if b >= p.batch { return; }
    let stride = p.kv_heads * (HEAD / 4u);
    let first = (p.first + b * p.keys) * stride + g * (HEAD / 4u) + lane;
    let end = min((tile + 8u * ROWS - 1u) / shared_by, p.queries - 1u) + p.start + 1u;

    var stat: array<u32, ROWS>;
    var last: array<u32, ROWS>;
    var row_q: array<Row, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        // Lanes beyond the last pair repeat it and store nothing.
        let pair = min(tile + r * 8u + lane, pairs - 1u);
        let t = pair / shared_by;
        stat[r] = (p.first + b * p.queries + t) * p.heads + g * shared_by + pair % shared_by;
        last[r] = p.start + t;
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            let at = stat[r] * (HEAD / 4u) + i;
            row_q[r] = up(row_q[r]);
            row_q[r][BLOCKS - 1u][6] = q[at] * p.scale;
            row_q[r][BLOCKS - 1u][7] = q[at + 1u] * p.scale;
        }
    }
    var acc: array<Row, ROWS>;
    var top: array<f32, ROWS>;
    var sum: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) { top[r] = -3.0e38; }
    for (var s = 0u; s < end; s += 4u) {
        // Keys beyond the last are read as the last and weigh nothing.
        let key = vec4u(s, s + 1u, s + 2u, s + 3u);
        let base = first + min(key, vec4u(p.keys - 1u)) * stride;
        var weight: array<vec4f, ROWS>;
        for (var j = 0u; j < BLOCKS; j++) {
            let at = base + 8u * j;
            let x = mat4x4f(k[at.x], k[at.y], k[at.z], k[at.w]);
            for (var c = 0u; c < 8u; c++) {
                let k4 = quads(x, c);
                for (var r = 0u; r < ROWS; r++) {
                    weight[r] = add_dots(weight[r], row_q[r][j][c], k4);
                }
            }
        }
        var keep: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            let score = select(vec4f(-3.0e38), weight[r], key <= vec4u(last[r]));
            let higher = max(max(top[r], max(score.x, score.y)), max(score.z, score.w));
            let w = exp(score - higher);
            keep[r] = exp(top[r] - higher);
            weight[r] = w;
            sum[r] = sum[r] * keep[r] + w.x + w.y + w.z + w.w;
            top[r] = higher;
        }
        for (var j = 0u; j < BLOCKS; j++) {
            let at = base + 8u * j;
            let x = mat4x4f(v[at.x], v[at.y], v[at.z], v[at.w]);
            for (var c = 0u; c < 8u; c++) {
                let v4 = quads(x, c);
                for (var r = 0u; r < ROWS; r++) {
                    acc[r][j][c] = add_weighted(acc[r][j][c] * keep[r], weight[r], v4);
                }
            }
        }
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            if tile + r * 8u + lane < pairs {
                let at = stat[r] * (HEAD / 4u) + i;
                y[at] = acc[r][0][0] / sum[r];
                y[at + 1u] = acc[r][0][1] / sum[r];
            }
            acc[r] = up(acc[r]);
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        if tile + r * 8u + lane < pairs { lse[stat[r]] = top[r] + log(sum[r]); }
    }
}
