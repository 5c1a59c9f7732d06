// weight_nf4_quads: 4-bit NormalFloat, four rows side by side. Word ((n/4)·(K/8) + k/8)·4 + n%4 of
// `w` holds row n's codes of eight columns, the first in the low bits; byte (k/64)·N + n of
// `scales` is a block's scale: into `table`, times nested[(n·K + k) / 64 / 256], plus p.offset.
// uses: codebook_selects

fn weight_at(i: u32) -> f32 {
    let n = i / p.k;
    let k = i % p.k;
    let word = w[(n / 4u * (p.k / 8u) + k / 8u) * 4u + n % 4u];
    let byte = k / 64u * p.n + n;
    let code = (scales[byte / 4u] >> (8u * (byte % 4u))) & 255u;
    let scale = table[code / 4u][code % 4u] * nested[i / 64u / 256u] + p.offset;
    return nf4_value((word >> (4u * (k % 8u))) & 15u) * scale;
}
