// ceiling_copy: y = x, four elements per invocation: how fast this adapter moves memory.
// roles: none
// dispatch: (n / 4 / WG)   writes: y =   source: STREAM (McCalpin 1995), "copy"

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<vec4f>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;  // (n)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn ceiling_copy(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n / 4u { return; }
    y[i] = x[i];
}
