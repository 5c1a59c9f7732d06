// add: y += x.
// roles: none
// dispatch: (n / 4·WG)   writes: y +=   source: residual connection
// Against the baseline an invocation takes four elements at a time, so that an image gives it all
// four at once: llvmpipe without AVX-512.

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<vec4f>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;  // (n)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn add(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if 4u * i >= p.n { return; }
    y[i] = y[i] + x[i];
}
