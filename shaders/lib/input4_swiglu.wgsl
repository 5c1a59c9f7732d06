// input4_swiglu: elements 4i to 4i+3 of silu(gate) ⊙ up, of which `x` holds gate and then up, (M, K) each.

fn input4(i: u32) -> vec4f {
    let g = x[i];
    // exp(80) is finite; beyond it silu is zero to 30 digits.
    return g / (1.0 + exp(min(-g, vec4f(80.0)))) * x[p.m * (p.k / 4u) + i];
}
