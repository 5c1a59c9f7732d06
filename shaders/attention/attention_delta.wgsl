// attention_delta: delta = Σₑ y·dy. One invocation per query and head.
// roles: element
// dispatch: (B·T·H / 64)   writes: delta =   source: Dao 2023 (FlashAttention-2), alg. 2, line 4

struct Params {
    batch: u32, queries: u32, keys: u32, start: u32,
    heads: u32, kv_heads: u32, e: u32, scale: f32,
}

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       y:     array<Element>;  // (B·T, H·E)
@group(0) @binding(2) var<storage, read>       dy:    array<Element>;  // (B·T, H·E)
@group(0) @binding(3) var<storage, read_write> delta: array<f32>;      // (B·T, H)

@compute @workgroup_size(64)
fn attention_delta(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let stat = (group.x + group.y * groups.x) * 64u + lane;
    if stat >= p.batch * p.queries * p.heads { return; }
    let e = p.e / ELEMENTS;
    var sum = Element();
    for (var i = stat * e; i < (stat + 1u) * e; i++) { sum += y[i] * dy[i]; }
    delta[stat] = total(sum);
}
