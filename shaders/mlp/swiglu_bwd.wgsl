// swiglu_bwd: dup = dy · g·s, dgate = dy · up · s · (1 + g·(1 - s)) with s = 1 / (1 + exp(-g)).
// roles: element
// dispatch: (N·F / ELEMENTS·WG)   writes: dgate =, dup =   source: derivative of Shazeer 2020, eq. 5

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p:     Params;
@group(0) @binding(1) var<storage, read>       gate:  array<Element>;  // (N, F)
@group(0) @binding(2) var<storage, read>       up:    array<Element>;  // (N, F)
@group(0) @binding(3) var<storage, read>       dy:    array<Element>;  // (N, F)
@group(0) @binding(4) var<storage, read_write> dgate: array<Element>;  // (N, F)
@group(0) @binding(5) var<storage, read_write> dup:   array<Element>;  // (N, F)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn swiglu_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i * ELEMENTS >= p.n { return; }
    let g = gate[i];
    let s = 1.0 / (1.0 + exp(min(-g, Element(80.0))));
    let d = dy[i] * s;
    dup[i] = d * g;
    dgate[i] = d * up[i] * (1.0 + g * (1.0 - s));
}
