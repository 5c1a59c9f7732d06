// gather_rows: y[l] = x[index[l]], or zeros where index[l] is no row of x.
// roles: none
// dispatch: (L·D / WG)   writes: y =   source: selection of the rows that have a target, and its inverse
// One invocation per element.

struct Params { l: u32, n: u32, d: u32 }

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       x:     array<f32>;  // (N, D)
@group(0) @binding(2) var<storage, read>       index: array<u32>;  // (L); 0xffffffff: none
@group(0) @binding(3) var<storage, read_write> y:     array<f32>;  // (L, D)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn gather_rows(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.l * p.d { return; }
    let l = i / p.d;
    let row = index[l];
    var value = 0.0;
    if row < p.n { value = x[row * p.d + i - l * p.d]; }
    y[i] = value;
}
