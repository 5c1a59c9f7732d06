// mask_pcg: dropout's factors of elements i to i + 3, from a hash of their numbers, so that no mask
// is stored: p.keep = 1 / (1 - share) where the hash is at least p.threshold = share · 2^32,
// else 0. The hash is PCG's output function (O'Neill 2014).

fn pcg_hash(v: vec4u) -> vec4u {
    let s = v * 747796405u + vec4u(2891336453u);
    let w = ((s >> ((s >> vec4u(28u)) + vec4u(4u))) ^ s) * 277803737u;
    return (w >> vec4u(22u)) ^ w;
}

fn mask4(i: u32) -> vec4f {
    let hash = pcg_hash(pcg_hash(vec4u(i, i + 1u, i + 2u, i + 3u)) ^ vec4u(p.seed));
    return select(vec4f(), vec4f(p.keep), hash >= vec4u(p.threshold));
}
