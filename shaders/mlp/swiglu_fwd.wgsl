// swiglu_fwd: y = silu(gate) · up with silu(g) = g / (1 + exp(-g)). One invocation per `Element`.
// roles: element
// dispatch: (N·F / ELEMENTS·WG)   writes: y =   source: Shazeer 2020, eq. 5

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p:    Params;
@group(0) @binding(1) var<storage, read>       gate: array<Element>;  // (N, F)
@group(0) @binding(2) var<storage, read>       up:   array<Element>;  // (N, F)
@group(0) @binding(3) var<storage, read_write> y:    array<Element>;  // (N, F)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn swiglu_fwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i * ELEMENTS >= p.n { return; }
    let g = gate[i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    y[i] = g / (1.0 + exp(min(-g, Element(80.0)))) * up[i];
}
