// weight_nf4_single: 4-bit NormalFloat in blocks of 64 over the flattened matrix, eight codes a word of
// `w` in bitsandbytes' byte order, with each block's scale as an f32 in `scales`.

const NF4 = array<f32, 16>(
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
);

fn weight_at(i: u32) -> f32 {
    let code = (w[i / 8u] >> ((i % 8u) / 2u * 8u + 4u - (i % 2u) * 4u)) & 15u;
    return NF4[code] * bitcast<f32>(scales[i / 64u]);
}
