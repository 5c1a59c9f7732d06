// nf4_lanes8: NF4's sixteen values in the lanes of a subgroup of 8, eight in each of two registers;
// a lookup is two shuffles. On lavapipe a shuffle is one instruction, an indexed array a chain of
// selects.
// uses: values_nf4, scales_nf4

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
