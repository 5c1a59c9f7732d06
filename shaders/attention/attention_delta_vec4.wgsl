// attention_delta: delta = Σₑ y·dy. One invocation per query and head.
// roles: none
// dispatch: (B·T·H / 64)   writes: delta =   source: Dao 2023 (FlashAttention-2), alg. 2, line 4

// Against the baseline an invocation takes four elements at a time, so that an image gives it all
// four at once: llvmpipe without AVX-512.

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
}

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       y:     array<vec4f>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       dy:    array<vec4f>;  // (B·T, H·E)
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;    // (B·T, H)

@compute @workgroup_size(64)
fn attention_delta(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let stat = (group.x + group.y * groups.x) * 64u + lane;
    if stat >= p.batch * p.queries * p.heads { return; }
    var sum = 0.0;
    let e4 = p.e / 4u;
    for (var i = stat * e4; i < (stat + 1u) * e4; i++) { sum += dot(y[i], dy[i]); }
    delta[stat] = sum;
}
