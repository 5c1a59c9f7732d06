// weight_nf4: 4-bit NormalFloat in blocks of 64 over the flattened matrix, eight codes a word of `w`
// in bitsandbytes' byte order (first element in a byte's high nibble). A block's scale is a byte of
// `scales` into `table`, times nested[block / 256], plus p.offset.

const NF4 = array<f32, 16>(
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
);

fn weight_scale(block: u32) -> f32 {
    let code = (scales[block / 4u] >> (8u * (block % 4u))) & 255u;
    return table[code / 4u][code % 4u] * nested[block / 256u] + p.offset;
}

fn weight_at(i: u32) -> f32 {
    let code = (w[i / 8u] >> ((i % 8u) / 2u * 8u + 4u - (i % 2u) * 4u)) & 15u;
    return NF4[code] * weight_scale(i / 64u);
}
