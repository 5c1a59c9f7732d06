// add: y += x. One invocation per `Element`.
// roles: element
// dispatch: (n / ELEMENTS·WG)   writes: y +=   source: residual connection

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<Element>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<Element>;  // (n)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn add(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i * ELEMENTS >= p.n { return; }
    y[i] = y[i] + x[i];
}
