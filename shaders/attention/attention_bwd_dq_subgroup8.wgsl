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
@group(0) @binding(2) var<storage, read>       k:     array<vec4f>;  // (B·S, G·E)
@group(0) @binding(3) var<storage, read>       v:     array<vec4f>;  // (B·S, G·E)
@group(0) @binding(4) var<storage, read>       dy:    array<vec4f>;  // (B·T, H·E)
@group(0) @binding(5) var<storage, read>       lse:   array<f32>;    // (B·T, H), from attention_fwd
@group(0) @binding(6) var<storage, read>       delta: array<f32>;    // (B·T, H), from attention_delta
@group(0) @binding(7) var<storage, read_write> dq:    array<vec4f>;  // (B·T, H·E)

// A row is a pair of a query and one of the heads that share its keys.
const ROWS: u32 = 128u / HEAD;  // per lane

fn add_weighted(sum: vec4f, w: vec4f, x: mat4x4f) -> vec4f {
    return fma(w.zzzz, x[2], fma(w.wwww, x[3], fma(w.xxxx, x[0], fma(w.yyyy, x[1], sum))));
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
    let stride = p.kv_heads * (HEAD / 4u);
    let first = (p.first + b * p.keys) * stride + g * (HEAD / 4u) + lane;
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
            row_q[r][BLOCKS - 1u][6] = q[at[r] + i] * p.scale;
            row_q[r][BLOCKS - 1u][7] = q[at[r] + i + 1u] * p.scale;
            row_dy[r][BLOCKS - 1u][6] = dy[at[r] + i];
            row_dy[r][BLOCKS - 1u][7] = dy[at[r] + i + 1u];
        }
    }
    var acc: array<Row, ROWS>;
    for (var s = 0u; s < end; s += 4u) {
        // Keys beyond the last are read as the last and weigh nothing.
        let key = vec4u(s, s + 1u, s + 2u, s + 3u);
        let base = first + min(key, vec4u(p.keys - 1u)) * stride;
        var score: array<vec4f, ROWS>;
        var dp: array<vec4f, ROWS>;
        var ks: array<mat4x4f, BLOCKS>;
        for (var j = 0u; j < BLOCKS; j++) {
            let at = base + 8u * j;
            let x = mat4x4f(k[at.x], k[at.y], k[at.z], k[at.w]);
            let z = mat4x4f(v[at.x], v[at.y], v[at.z], v[at.w]);
            ks[j] = x;
            for (var c = 0u; c < 8u; c++) {
                let k4 = quads(x, c);
                let v4 = quads(z, c);
                for (var r = 0u; r < ROWS; r++) {
                    score[r] = add_dots(score[r], row_q[r][j][c], k4);
                    dp[r] = add_dots(dp[r], row_dy[r][j][c], v4);
                }
            }
        }
        var ds: array<vec4f, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            let x = exp(score[r] - row_lse[r]) * (dp[r] - row_delta[r]) * p.scale;
            ds[r] = select(vec4f(), x, key <= vec4u(last[r]));
        }
        for (var j = 0u; j < BLOCKS; j++) {
            for (var c = 0u; c < 8u; c++) {
                let k4 = quads(ks[j], c);
                for (var r = 0u; r < ROWS; r++) {
                    acc[r][j][c] = add_weighted(acc[r][j][c], ds[r], k4);
                }
            }
        }
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            if tile + r * 8u + lane < pairs {
                dq[at[r] + i] = acc[r][0][0];
                dq[at[r] + i + 1u] = acc[r][0][1];
            }
            acc[r] = up(acc[r]);
        }
    }
}
