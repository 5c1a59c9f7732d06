// copy_rows: y[b · stride + first + t] = x[b · rows + t]. One element an invocation.
// roles: none
// dispatch: (B·rows·C/64)   writes: y = in these rows   source: key-value caching

struct Params { n: u32, rows: u32, stride: u32, first: u32, width: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<f32>;  // (B·rows, C)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // (B·stride, C)

const WG: u32 = 64u;

@compute @workgroup_size(WG)
fn copy_rows(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n { return; }
    let row = i / p.width;
    let to = row / p.rows * p.stride + p.first + row % p.rows;
    y[to * p.width + i % p.width] = x[i];
}
