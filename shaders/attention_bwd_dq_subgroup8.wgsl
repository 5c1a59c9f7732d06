// attention_bwd_dq: keys loaded once per subgroup; 8·ROWS rows of a kv head a workgroup.
// roles: head
// dispatch: (B·G·⌈T·(H/G)/(8·ROWS)⌉)   writes: dq =   source: Dao 2023 (FlashAttention-2), alg. 2

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
    first: u32,  // rows before these queries, and before these keys
}

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       q:     array<vec4f>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       k:     array<f32>;    // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:     array<f32>;    // (B·S, G·E)
@group(0) @binding(4) var<storage, read>       dy:    array<vec4f>;  // (B·T, H·E)
@group(0) @binding(5) var<storage, read>       lse:   array<f32>;    // (B·T, H), from attention_fwd
@group(0) @binding(6) var<storage, read>       delta: array<f32>;    // (B·T, H), from attention_delta
@group(0) @binding(7) var<storage, read_write> dq:    array<vec4f>;  // (B·T, H·E)

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
fn attention_bwd_dq(
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

    var at: array<u32, ROWS>;
    var last: array<u32, ROWS>;
    var row_lse: array<f32, ROWS>;
    var row_delta: array<f32, ROWS>;
    var row_q: array<Row, ROWS>;
    var row_dy: array<Row, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        // Lanes beyond the last pair repeat it and store nothing.
        let pair = min(tile + r * 8u + lane, pairs - 1u);
        let t = pair / shared_by;
        let stat = (p.first + b * p.queries + t) * p.heads + g * shared_by + pair % shared_by;
        at[r] = stat * (HEAD / 4u);
        last[r] = p.start + t;
        row_lse[r] = lse[stat];
        row_delta[r] = delta[stat];
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            row_q[r] = up(row_q[r]);
            row_dy[r] = up(row_dy[r]);
            row_q[r].lo[PARTS - 1u] = q[at[r] + i] * p.scale;
            row_q[r].hi[PARTS - 1u] = q[at[r] + i + 1u] * p.scale;
            row_dy[r].lo[PARTS - 1u] = dy[at[r] + i];
            row_dy[r].hi[PARTS - 1u] = dy[at[r] + i + 1u];
        }
    }
    var acc: array<Row, ROWS>;
    for (var s = 0u; s < end; s += 4u) {
        // Keys beyond the last are read as the last and weigh nothing.
        let key = vec4u(s, s + 1u, s + 2u, s + 3u);
        let base = first + min(key, vec4u(p.keys - 1u)) * stride;
        var score: array<vec4f, ROWS>;
        var dp: array<vec4f, ROWS>;
        var ks: array<vec4f, PARTS>;
        for (var c = 0u; c < PARTS; c++) {
            let at = base + c * 8u;
            let x = vec4f(k[at.x], k[at.y], k[at.z], k[at.w]);
            let z = vec4f(v[at.x], v[at.y], v[at.z], v[at.w]);
            ks[c] = x;
            for (var r = 0u; r < ROWS; r++) {
                let l = row_q[r].lo[c];
                let h = row_q[r].hi[c];
                score[r].x = add_dot(add_dot(score[r].x, l, lo(x.x)), h, hi(x.x));
                score[r].y = add_dot(add_dot(score[r].y, l, lo(x.y)), h, hi(x.y));
                score[r].z = add_dot(add_dot(score[r].z, l, lo(x.z)), h, hi(x.z));
                score[r].w = add_dot(add_dot(score[r].w, l, lo(x.w)), h, hi(x.w));
                let m = row_dy[r].lo[c];
                let n = row_dy[r].hi[c];
                dp[r].x = add_dot(add_dot(dp[r].x, m, lo(z.x)), n, hi(z.x));
                dp[r].y = add_dot(add_dot(dp[r].y, m, lo(z.y)), n, hi(z.y));
                dp[r].z = add_dot(add_dot(dp[r].z, m, lo(z.z)), n, hi(z.z));
                dp[r].w = add_dot(add_dot(dp[r].w, m, lo(z.w)), n, hi(z.w));
            }
        }
        var ds: array<vec4f, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            let x = exp(score[r] - row_lse[r]) * (dp[r] - row_delta[r]) * p.scale;
            ds[r] = select(vec4f(), x, key <= vec4u(last[r]));
        }
        for (var c = 0u; c < PARTS; c++) {
            let x = ks[c];
            for (var r = 0u; r < ROWS; r++) {
                let d = ds[r];
                acc[r].lo[c] = fma(d.xxxx, lo(x.x), fma(d.yyyy, lo(x.y), acc[r].lo[c]));
                acc[r].lo[c] = fma(d.zzzz, lo(x.z), fma(d.wwww, lo(x.w), acc[r].lo[c]));
                acc[r].hi[c] = fma(d.xxxx, hi(x.x), fma(d.yyyy, hi(x.y), acc[r].hi[c]));
                acc[r].hi[c] = fma(d.zzzz, hi(x.z), fma(d.wwww, hi(x.w), acc[r].hi[c]));
            }
        }
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            if tile + r * 8u + lane < pairs {
                dq[at[r] + i] = acc[r].lo[0];
                dq[at[r] + i + 1u] = acc[r].hi[0];
            }
            acc[r] = up(acc[r]);
        }
    }
}
