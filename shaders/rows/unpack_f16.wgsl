// unpack_f16: y[2i], y[2i + 1] = the two f16 of word x[i].
// roles: none
// dispatch: (n/2 / WG)   writes: y =   source: Micikevicius et al. 2018 (arXiv:1710.03740), 16-bit storage

struct Params { n: u32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<u32>;  // (⌈n/2⌉)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // (n)

override WG: u32 = 64u;

@compute @workgroup_size(WG)
fn unpack_f16(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if 2u * i >= p.n { return; }
    let pair = unpack2x16float(x[i]);
    y[2u * i] = pair.x;
    if 2u * i + 1u < p.n { y[2u * i + 1u] = pair.y; }
}
