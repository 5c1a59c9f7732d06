// dropout: y = x · mask / (1 - p), element i kept where mask_hash(seed, i) >= threshold = p · 2^32.
// roles: none
// dispatch: (n / WG)   writes: y =   source: Srivastava et al. 2014; hash: O'Neill 2014 (PCG)

struct Params { n: u32, seed: u32, threshold: u32, scale: f32 }

@group(0) @binding(0) var<uniform>             p: Params;
@group(0) @binding(1) var<storage, read>       x: array<f32>;  // (n)
@group(0) @binding(2) var<storage, read_write> y: array<f32>;  // (n)

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
fn dropout(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * WG + lane;
    if i >= p.n { return; }
    y[i] = select(0.0, x[i] * p.scale, mask_hash(p.seed, i) >= p.threshold);
}
