// attention_bwd_dkv: dk = Σ ds·q/√E, dv = Σ p·dy. An invocation per key, kv head, 32 columns.
// roles: none
// dispatch: (B·G·⌈E/32⌉·S / 64)   writes: dk =, dv =   source: Dao 2023 (FlashAttention-2), alg. 2

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

const COLUMNS: u32 = 32u;

@compute @workgroup_size(64)
fn attention_bwd_dkv(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * 64u + lane;
    let s = i % p.keys;
    let parts = (p.e + COLUMNS - 1u) / COLUMNS;
    let part = i / p.keys % parts;
    let g = i / p.keys / parts % p.kv_heads;
    let b = i / p.keys / parts / p.kv_heads;
    if b >= p.batch { return; }
    let key = ((p.first + b * p.keys + s) * p.kv_heads + g) * p.e;
    let group_heads = p.heads / p.kv_heads;
    var acc_k: array<f32, COLUMNS>;
    var acc_v: array<f32, COLUMNS>;
    for (var h = g * group_heads; h < (g + 1u) * group_heads; h++) {
        for (var t = max(s, p.start) - p.start; t < p.queries; t++) {
            let stat = (p.first + b * p.queries + t) * p.heads + h;
            let row = stat * p.e;
            var score = 0.0;
            var dp = 0.0;
            // A loop of constant length is unrolled: llvmpipe ends an invocation's loops after
            // 65,535 turns.
            for (var c = 0u; c < p.e; c += COLUMNS) {
                for (var j = 0u; j < COLUMNS; j++) {
                    let e = min(c + j, p.e - 1u);
                    score += select(0.0, q[row + e] * k[key + e], c + j < p.e);
                    dp += select(0.0, dy[row + e] * v[key + e], c + j < p.e);
                }
            }
            let weight = exp(score * p.scale - lse[stat]);
            let ds = weight * (dp - delta[stat]);
            for (var j = 0u; j < COLUMNS; j++) {
                let e = min(part * COLUMNS + j, p.e - 1u);
                acc_k[j] += ds * q[row + e];
                acc_v[j] += weight * dy[row + e];
            }
        }
    }
    for (var j = 0u; j < COLUMNS; j++) {
        let e = part * COLUMNS + j;
        if e < p.e {
            dk[key + e] = acc_k[j] * p.scale;
            dv[key + e] = acc_v[j];
        }
    }
}
