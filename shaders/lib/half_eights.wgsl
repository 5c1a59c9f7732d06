// half_eights: eight f32 as f16 that share a power of two, the one that brings the largest of them
// into [1, 2): a gradient far below f16's range keeps eleven bits as an activation does. Powers are
// within 2^±100.

// The power's bits.
fn half_power(low: vec4f, high: vec4f) -> u32 {
    let fours = max(abs(low), abs(high));
    let largest = max(max(fours.x, fours.y), max(fours.z, fours.w));
    return clamp(bitcast<u32>(largest) & 0x7f800000u, 0x0d800000u, 0x71800000u);
}

// Four of them over the power.
fn half_of(values: vec4f, power: u32) -> vec4h {
    return vec4h(values * bitcast<f32>(0x7f000000u - power));
}
