// attention_bwd_dkv: queries loaded once per subgroup; 8·ROWS keys of a kv head a workgroup.
// roles: head
// dispatch: (B·G·⌈S/(8·ROWS)⌉)   writes: dk =, dv =   source: Dao 2023 (FlashAttention-2), alg. 2

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
    first: u32,  // rows before these queries, and before these keys
}

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       q:     array<f32>;    // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       k:     array<vec4f>;  // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:     array<vec4f>;  // (B·S, G·E)
@group(0) @binding(4) var<storage, read>       dy:    array<f32>;    // (B·T, H·E)
@group(0) @binding(5) var<storage, read>       lse:   array<f32>;    // (B·T, H), from attention_fwd
@group(0) @binding(6) var<storage, read>       delta: array<f32>;    // (B·T, H), from attention_delta
@group(0) @binding(7) var<storage, read_write> dk:    array<vec4f>;  // (B·S, G·E)
@group(0) @binding(8) var<storage, read_write> dv:    array<vec4f>;  // (B·S, G·E)

const ROWS: u32 = max(64u / HEAD, 1u);  // per lane
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
fn attention_bwd_dkv(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = group.x + group.y * groups.x;
    let tiles = (p.keys + 8u * ROWS - 1u) / (8u * ROWS);
    let tile = i % tiles * 8u * ROWS;
    let g = i / tiles % p.kv_heads;
    let b = i / tiles / p.kv_heads;
    if b >= p.batch { return; }
    let shared_by = p.heads / p.kv_heads;
    var at: array<u32, ROWS>;
    var key: array<u32, ROWS>;
    var row_k: array<Row, ROWS>;
    var row_v: array<Row, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        // Lanes beyond the last key repeat it and store nothing.
        key[r] = min(tile + r * 8u + lane, p.keys - 1u);
        at[r] = ((p.first + b * p.keys + key[r]) * p.kv_heads + g) * (HEAD / 4u);
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            row_k[r] = up(row_k[r]);
            row_v[r] = up(row_v[r]);
            row_k[r].lo[PARTS - 1u] = k[at[r] + i] * p.scale;
            row_k[r].hi[PARTS - 1u] = k[at[r] + i + 1u] * p.scale;
            row_v[r].lo[PARTS - 1u] = v[at[r] + i];
            row_v[r].hi[PARTS - 1u] = v[at[r] + i + 1u];
        }
    }
    var acc_k: array<Row, ROWS>;
    var acc_v: array<Row, ROWS>;
    for (var h = g * shared_by; h < (g + 1u) * shared_by; h++) {
        for (var t = max(tile, p.start) - p.start; t < p.queries; t += 4u) {
            // Queries beyond the last are read as the last and weigh nothing.
            let query = vec4u(t, t + 1u, t + 2u, t + 3u);
            let stat = (p.first + b * p.queries + min(query, vec4u(p.queries - 1u))) * p.heads + h;
            let own = (p.first + b * p.queries + min(t + lane % 4u, p.queries - 1u)) * p.heads + h;
            let lses = lo(lse[own]);
            let deltas = lo(delta[own]);
            var score: array<vec4f, ROWS>;
            var dp: array<vec4f, ROWS>;
            var qs: array<vec4f, PARTS>;
            var dys: array<vec4f, PARTS>;
            for (var c = 0u; c < PARTS; c++) {
                let at = stat * HEAD + c * 8u + lane;
                let x = vec4f(q[at.x], q[at.y], q[at.z], q[at.w]);
                let z = vec4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
                qs[c] = x;
                dys[c] = z;
                for (var r = 0u; r < ROWS; r++) {
                    let l = row_k[r].lo[c];
                    let h = row_k[r].hi[c];
                    score[r].x = add_dot(add_dot(score[r].x, l, lo(x.x)), h, hi(x.x));
                    score[r].y = add_dot(add_dot(score[r].y, l, lo(x.y)), h, hi(x.y));
                    score[r].z = add_dot(add_dot(score[r].z, l, lo(x.z)), h, hi(x.z));
                    score[r].w = add_dot(add_dot(score[r].w, l, lo(x.w)), h, hi(x.w));
                    let m = row_v[r].lo[c];
                    let n = row_v[r].hi[c];
                    dp[r].x = add_dot(add_dot(dp[r].x, m, lo(z.x)), n, hi(z.x));
                    dp[r].y = add_dot(add_dot(dp[r].y, m, lo(z.y)), n, hi(z.y));
                    dp[r].z = add_dot(add_dot(dp[r].z, m, lo(z.z)), n, hi(z.z));
                    dp[r].w = add_dot(add_dot(dp[r].w, m, lo(z.w)), n, hi(z.w));
                }
            }
            var weight: array<vec4f, ROWS>;
            var ds: array<vec4f, ROWS>;
            for (var r = 0u; r < ROWS; r++) {
                let seen = (vec4u(key[r]) <= p.start + query) & (query < vec4u(p.queries));
                weight[r] = select(vec4f(), exp(score[r] - lses), seen);
                ds[r] = weight[r] * (dp[r] - deltas) * p.scale;
            }
            for (var c = 0u; c < PARTS; c++) {
                let x = qs[c];
                let z = dys[c];
                for (var r = 0u; r < ROWS; r++) {
                    let d = ds[r];
                    acc_k[r].lo[c] = fma(d.xxxx, lo(x.x), fma(d.yyyy, lo(x.y), acc_k[r].lo[c]));
                    acc_k[r].lo[c] = fma(d.zzzz, lo(x.z), fma(d.wwww, lo(x.w), acc_k[r].lo[c]));
                    acc_k[r].hi[c] = fma(d.xxxx, hi(x.x), fma(d.yyyy, hi(x.y), acc_k[r].hi[c]));
                    acc_k[r].hi[c] = fma(d.zzzz, hi(x.z), fma(d.wwww, hi(x.w), acc_k[r].hi[c]));
                    let w = weight[r];
                    acc_v[r].lo[c] = fma(w.xxxx, lo(z.x), fma(w.yyyy, lo(z.y), acc_v[r].lo[c]));
                    acc_v[r].lo[c] = fma(w.zzzz, lo(z.z), fma(w.wwww, lo(z.w), acc_v[r].lo[c]));
                    acc_v[r].hi[c] = fma(w.xxxx, hi(z.x), fma(w.yyyy, hi(z.y), acc_v[r].hi[c]));
                    acc_v[r].hi[c] = fma(w.zzzz, hi(z.z), fma(w.wwww, hi(z.w), acc_v[r].hi[c]));
                }
            }
        }
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            if tile + r * 8u + lane < p.keys {
                dk[at[r] + i] = acc_k[r].lo[0];
                dk[at[r] + i + 1u] = acc_k[r].hi[0];
                dv[at[r] + i] = acc_v[r].lo[0];
                dv[at[r] + i + 1u] = acc_v[r].hi[0];
            }
            acc_k[r] = up(acc_k[r]);
            acc_v[r] = up(acc_v[r]);
        }
    }
}
