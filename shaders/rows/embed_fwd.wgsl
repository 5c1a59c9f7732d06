// embed_fwd: y[n] = w[ids[n] - first_row] where this shard has the row. One invocation per element.
// roles: weight
// dispatch: (N·D / WG)   writes: y = (rows of the shard only)   source: table look-up

struct Params { n: u32, d: u32, first_row: u32, rows: u32 }

@group(0) @binding(0) var<uniform>             p:   Params;
@group(0) @binding(1) var<storage, read>       ids: array<u32>;  // (N)
@group(0) @binding(2) var<storage, read>       w:   array<u32>;  // (rows, D) of the table, from first_row on
@group(0) @binding(3) var<storage, read_write> y:   array<f32>;  // (N, D)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn embed_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n * p.d { return; }
    let n = i / p.d;
    // Ids before the shard wrap around to large numbers.
    let row = ids[n] - p.first_row;
    if row < p.rows { y[i] = weight_at(row * p.d + i - n * p.d); }
}
