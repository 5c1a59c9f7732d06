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
@group(0) @binding(2) var<storage, read>       k:   array<f32>;    // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:   array<f32>;    // (B·S, G·E)
@group(0) @binding(4) var<storage, read_write> y:   array<vec4f>;  // (B·T, H·E)
@group(0) @binding(5) var<storage, read_write> lse: array<f32>;    // (B·T, H), kept for attention_bwd_*

// A row is a pair of a query and one of the heads that share its keys.
const ROWS: u32 = 128u / HEAD;  // per lane
const PARTS: u32 = HEAD / 8u;

// One row of a head in parts of eight columns.
struct Row { lo: array<vec4f, PARTS>, hi: array<vec4f, PARTS> }

// Each part one place up, for loops of few loads and stores: compilers take their time for each.
fn up(row: Row) -> Row {
    var moved = row;
    for (var c = 1u; c < PARTS; c++) {
        moved.lo[c - 1u] = row.lo[c];
        moved.hi[c - 1u] = row.hi[c];
    }
    return moved;
}

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
    let stride = p.kv_heads * HEAD;
    let first = (p.first + b * p.keys) * stride + g * HEAD + lane;
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
            row_q[r].lo[PARTS - 1u] = q[at] * p.scale;
            row_q[r].hi[PARTS - 1u] = q[at + 1u] * p.scale;
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
        for (var c = 0u; c < PARTS; c++) {
            let at = base + c * 8u;
            let x = vec4f(k[at.x], k[at.y], k[at.z], k[at.w]);
            for (var r = 0u; r < ROWS; r++) {
                let l = row_q[r].lo[c];
                let h = row_q[r].hi[c];
                weight[r].x = add_dot(add_dot(weight[r].x, l, lo(x.x)), h, hi(x.x));
                weight[r].y = add_dot(add_dot(weight[r].y, l, lo(x.y)), h, hi(x.y));
                weight[r].z = add_dot(add_dot(weight[r].z, l, lo(x.z)), h, hi(x.z));
                weight[r].w = add_dot(add_dot(weight[r].w, l, lo(x.w)), h, hi(x.w));
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
        for (var c = 0u; c < PARTS; c++) {
            let at = base + c * 8u;
            let x = vec4f(v[at.x], v[at.y], v[at.z], v[at.w]);
            for (var r = 0u; r < ROWS; r++) {
                let w = weight[r];
                let l = fma(w.zzzz, lo(x.z), fma(w.wwww, lo(x.w), acc[r].lo[c] * keep[r]));
                let h = fma(w.zzzz, hi(x.z), fma(w.wwww, hi(x.w), acc[r].hi[c] * keep[r]));
                acc[r].lo[c] = fma(w.xxxx, lo(x.x), fma(w.yyyy, lo(x.y), l));
                acc[r].hi[c] = fma(w.xxxx, hi(x.x), fma(w.yyyy, hi(x.y), h));
            }
        }
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            if tile + r * 8u + lane < pairs {
                let at = stat[r] * (HEAD / 4u) + i;
                y[at] = acc[r].lo[0] / sum[r];
                y[at + 1u] = acc[r].hi[0] / sum[r];
            }
            acc[r] = up(acc[r]);
        }
    }
    for (var r = 0u; r < ROWS; r++) {
        if tile + r * 8u + lane < pairs { lse[stat[r]] = top[r] + log(sum[r]); }
    }
}
