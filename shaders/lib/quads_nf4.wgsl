// quads_nf4: a word of NF4 quads, eight k of four rows, by `nf4_values` of the codebook that the
// body names.

// Σ over the word's eight k of four rows of W (components), not yet scaled.
fn quad_products(word: vec4u, even: vec4f, odd: vec4f) -> vec4f {
    var sum = nf4_values(word & vec4u(15u)) * even.x;
    sum = fma(nf4_values((word >> vec4u(4u)) & vec4u(15u)), even.yyyy, sum);
    sum = fma(nf4_values((word >> vec4u(8u)) & vec4u(15u)), even.zzzz, sum);
    sum = fma(nf4_values((word >> vec4u(12u)) & vec4u(15u)), even.wwww, sum);
    sum = fma(nf4_values((word >> vec4u(16u)) & vec4u(15u)), odd.xxxx, sum);
    sum = fma(nf4_values((word >> vec4u(20u)) & vec4u(15u)), odd.yyyy, sum);
    sum = fma(nf4_values((word >> vec4u(24u)) & vec4u(15u)), odd.zzzz, sum);
    return fma(nf4_values(word >> vec4u(28u)), odd.wwww, sum);
}
