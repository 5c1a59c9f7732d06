// dropout_bwd: dx += dy · mask / (1 - p), with the mask of dropout under the same seed.
// roles: none
// dispatch: (n / WG)   writes: dx +=   source: derivative of dropout; hash: O'Neill 2014 (PCG)

struct Params { n: u32, seed: u32, threshold: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p:  Params;
@group(0) @binding(1) var<storage, read>       dy: array<f32>;  // (n)
@group(0) @binding(2) var<storage, read_write> dx: array<f32>;  // (n)

override WG: u32 = 64u;

fn pcg_hash(v: u32) -> u32 {
    let s = v * 747796405u + 2891336453u;
    let w = ((s >> ((s >> 28u) + 4u)) ^ s) * 277803737u;
    return (w >> 22u) ^ w;
}

fn mask_hash(seed: u32, index: u32) -> u32 {
    return pcg_hash(pcg_hash(index) ^ seed);
}

@compute @workgroup_size(WG)
fn dropout_bwd(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n { return; }
    dx[i] += select(0.0, dy[i] * p.scale, mask_hash(p.seed, i) >= p.threshold);
}
