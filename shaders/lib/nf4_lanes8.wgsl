// nf4_lanes8: NF4's sixteen values in the lanes of a subgroup of 8, eight in each of two registers; a
// lookup is two shuffles. On lavapipe a shuffle is one instruction, an indexed array a chain of selects.

const NF4 = array<f32, 16>(
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
);

var<private> nf4_negative: f32;  // value of code `lane`
var<private> nf4_positive: f32;  // value of code `lane + 8`

fn nf4_begin(lane: u32) {
    var values = NF4;
    nf4_negative = values[lane];
    nf4_positive = values[lane + 8u];
}

fn nf4_value(code: u32) -> f32 {
    let low = subgroupShuffle(nf4_negative, code & 7u);
    let high = subgroupShuffle(nf4_positive, code & 7u);
    return select(low, high, (code & 8u) != 0u);
}

fn nf4_values(code: vec4u) -> vec4f {
    return vec4f(nf4_value(code.x), nf4_value(code.y), nf4_value(code.z), nf4_value(code.w));
}

fn nf4_scale(code: u32) -> f32 {
    return table[code / 4u][code % 4u];
}
