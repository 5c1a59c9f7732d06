// attention_bwd_dkv: queries loaded once per subgroup; 8·ROWS keys of a kv head a workgroup.
// roles: head
// dispatch: (B·G·⌈S/(8·ROWS)⌉)   writes: dk =, dv =   source: Dao 2023 (FlashAttention-2), alg. 2

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
@group(0) @binding(7) var<storage, read_write> dk:    array<vec4f>;  // (B·S, G·E)
@group(0) @binding(8) var<storage, read_write> dv:    array<vec4f>;  // (B·S, G·E)

const ROWS: u32 = max(64u / HEAD, 1u);  // per lane

fn first4(x: f32) -> vec4f {
    return vec4f(
        subgroupBroadcast(x, 0u), subgroupBroadcast(x, 1u),
        subgroupBroadcast(x, 2u), subgroupBroadcast(x, 3u),
    );
}

fn add_weighted(sum: vec4f, w: vec4f, x: mat4x4f) -> vec4f {
    return fma(w.zzzz, x[2], fma(w.wwww, x[3], fma(w.xxxx, x[0], fma(w.yyyy, x[1], sum))));
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
            row_k[r][BLOCKS - 1u][6] = k[at[r] + i] * p.scale;
            row_k[r][BLOCKS - 1u][7] = k[at[r] + i + 1u] * p.scale;
            row_v[r][BLOCKS - 1u][6] = v[at[r] + i];
            row_v[r][BLOCKS - 1u][7] = v[at[r] + i + 1u];
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
            let lses = first4(lse[own]);
            let deltas = first4(delta[own]);
            var score: array<vec4f, ROWS>;
            var dp: array<vec4f, ROWS>;
            var qs: array<mat4x4f, BLOCKS>;
            var dys: array<mat4x4f, BLOCKS>;
            for (var j = 0u; j < BLOCKS; j++) {
                let at = stat * (HEAD / 4u) + 8u * j + lane;
                let x = mat4x4f(q[at.x], q[at.y], q[at.z], q[at.w]);
                let z = mat4x4f(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
                qs[j] = x;
                dys[j] = z;
                for (var c = 0u; c < 8u; c++) {
                    let q4 = quads(x, c);
                    let dy4 = quads(z, c);
                    for (var r = 0u; r < ROWS; r++) {
                        score[r] = add_dots(score[r], row_k[r][j][c], q4);
                        dp[r] = add_dots(dp[r], row_v[r][j][c], dy4);
                    }
                }
            }
            var weight: array<vec4f, ROWS>;
            var ds: array<vec4f, ROWS>;
            for (var r = 0u; r < ROWS; r++) {
                let seen = (vec4u(key[r]) <= p.start + query) & (query < vec4u(p.queries));
                weight[r] = select(vec4f(), exp(score[r] - lses), seen);
                ds[r] = weight[r] * (dp[r] - deltas) * p.scale;
            }
            for (var j = 0u; j < BLOCKS; j++) {
                for (var c = 0u; c < 8u; c++) {
                    let q4 = quads(qs[j], c);
                    let dy4 = quads(dys[j], c);
                    for (var r = 0u; r < ROWS; r++) {
                        acc_k[r][j][c] = add_weighted(acc_k[r][j][c], ds[r], q4);
                        acc_v[r][j][c] = add_weighted(acc_v[r][j][c], weight[r], dy4);
                    }
                }
            }
        }
    }
    for (var i = 0u; i < p.e / 4u; i += 2u) {
        for (var r = 0u; r < ROWS; r++) {
            if tile + r * 8u + lane < p.keys {
                dk[at[r] + i] = acc_k[r][0][0];
                dk[at[r] + i + 1u] = acc_k[r][0][1];
                dv[at[r] + i] = acc_v[r][0][0];
                dv[at[r] + i + 1u] = acc_v[r][0][1];
            }
            acc_k[r] = up(acc_k[r]);
            acc_v[r] = up(acc_v[r]);
        }
    }
}
