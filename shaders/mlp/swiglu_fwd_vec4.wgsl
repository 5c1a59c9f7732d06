// swiglu_fwd: y = silu(gate) · up with silu(g) = g / (1 + exp(-g)).
// roles: none
// dispatch: (N·F / 4 / WG)   writes: y =   source: Shazeer 2020, eq. 5
// Against the baseline an invocation makes four elements, so that an image gives it all four at
// once: llvmpipe without AVX-512.

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       gate: array<vec4f>;  // (N, F)
@group(0) @binding(2) var<storage, read>       up:   array<vec4f>;  // (N, F)
@group(0) @binding(3) var<storage, read_write> y:    array<vec4f>;  // (N, F)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn swiglu_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if 4u * i >= p.n { return; }
    let g = gate[i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    y[i] = g / (1.0 + exp(min(-g, vec4f(80.0)))) * up[i];
}
